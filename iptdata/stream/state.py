"""The state of a stream: plain numbers and names that can be stored as JSON, checked when they come back."""

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from types import NoneType
from typing import Any, TypeGuard

from iptdata import rng
from iptdata.errors import StreamError, shown
from iptdata.stream.catalog import TaskShards
from iptdata.stream.options import StreamOptions
from iptdata.stream.shuffle import MODES, Shuffle

_VERSION = 1
_MAX_COUNT = 1 << 40
_HINT = "Use another one, or start over"
_OTHER_HINT = "Use its shards and options, or start over; in a corpus that was extended since, its shards have kept their names"


def stream_identity(options: StreamOptions, tasks: list[str], shards: Sequence[TaskShards], epoch_steps: int) -> dict[str, Any]:
    """The part of a state that must be the same when a run resumes.

    Args:
        options: Options of the stream.
        tasks: Names of its tasks, in order.
        shards: Shards of the tasks that iptdata wrote.
        epoch_steps: Steps per epoch.
    """
    weights = options.weights
    return {
        "seed": options.seed,
        "batch_size": options.batch_size,
        "tasks": tasks,
        "data": rng.digest(*(task.fingerprint() for task in shards), size=8).hex(),
        "fraction": options.fraction,
        "remainder": options.remainder,
        "weights": {str(task): weight for task, weight in weights.items()} if isinstance(weights, Mapping) else weights,
        "epoch_steps": epoch_steps,
    }


def write_state(epoch: int, step: int, shuffle: Shuffle, same: Mapping[str, Any]) -> dict[str, Any]:
    """The state at a position.

    Args:
        epoch: Epoch of the next batch, from 0.
        step: Step of the next batch in its epoch, from 0.
        shuffle: How the pairs are shuffled.
        same: The part that must be the same when a run resumes, see `stream_identity`.
    """
    return {"version": _VERSION, "epoch": epoch, "step": step, "shuffle": shuffle.plain(), **same}


def read_state(state: Any, same: Mapping[str, Any], steps: int) -> tuple[int, int, Shuffle]:
    """Check a state of whatever content.

    Args:
        state: The state.
        same: Values that it must have.
        steps: Steps per epoch.

    Returns:
        Epoch, step and shuffle.

    Raises:
        StreamError: When it is damaged, or has other values, which are listed.
    """
    if not isinstance(state, Mapping):
        raise StreamError(f"found {shown(state)} as a state, expected a mapping", hint=_HINT)
    if not _equal(state.get("version"), _VERSION):
        raise StreamError(f"found a state of version {shown(state.get('version'))}, expected {_VERSION}", hint=_HINT)
    changes = [
        f"{name}: {shown(state.get(name))} in the state, {shown(value)} here"
        for name, value in same.items()
        if not _equal(state.get(name), value)
    ]
    if changes:
        raise StreamError(f"the state is of another stream ({'; '.join(changes)})", hint=_OTHER_HINT)
    epoch, step, shuffle = state.get("epoch"), state.get("step"), _shuffle(state.get("shuffle"))
    if shuffle is None or not is_count(epoch) or not is_count(step):
        damaged = {name: state.get(name) for name in ("epoch", "step", "shuffle")}
        raise StreamError(f"the state is damaged ({shown(damaged)})", hint=_HINT)
    if step >= steps:
        raise StreamError(f"found a state at epoch {epoch}, step {step}, expected a step below {steps}")
    return int(epoch), int(step), shuffle


def is_count(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, of Python or NumPy, that an epoch or a step can have."""
    return isinstance(value, Integral) and not isinstance(value, bool) and 0 <= int(value) < _MAX_COUNT


def _shuffle(plain: object) -> Shuffle | None:
    """The shuffle that `Shuffle.plain` gave, None for anything else."""
    if not isinstance(plain, Mapping) or set(plain) != {"mode", "window"}:
        return None
    mode, window = plain["mode"], plain["window"]
    valid = any(_equal(mode, known) for known in MODES) and is_count(window) and window > 0
    return Shuffle(mode=mode, window=int(window)) if valid else None


def _equal(found: object, expected: object) -> bool:
    """Whether a value, of whatever type, is the expected one."""
    kind = type(expected) if isinstance(expected, list | dict) else str | Real | NoneType
    return isinstance(found, kind) and isinstance(found, bool) == isinstance(expected, bool) and bool(found == expected)
