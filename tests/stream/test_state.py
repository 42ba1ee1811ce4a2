"""States: plain values for JSON, and an error for whatever else comes back."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iptdata.errors import StreamError
from iptdata.stream import PairStream

WRONG: list[Any] = [None, "x", "1", 1.5, -1, True, [], [1], {}, {"a": 1}, 10**30, float("nan"), float("inf")]


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": np.int64(4)},
        {"batch_size": 4, "weights": {"rain": np.float32(1)}},
        {"batch_size": 4, "weights": {np.str_("rain"): np.int64(1)}, "epoch_steps": np.int64(5)},
        {"batch_size": 4, "weights": {"rain": Fraction(1, 2)}, "epoch_steps": np.uint8(5)},
        {"batch_size": 4, "seed": np.uint16(3), "fraction": np.float32(0.5)},
        {"batch_size": 4, "shuffle": "window", "window": np.int32(2), "rank": np.int8(0), "world_size": np.int8(1)},
        {"batch_size": 4, "tasks": [np.str_("rain")]},
    ],
    ids=str,
)
def test_numbers_of_numpy(corpus: Path, options: dict[str, Any]) -> None:
    stream = PairStream(corpus / "rain", **options)
    stream.set_epoch(np.int64(2))  # pyright: ignore[reportArgumentType]
    batch = next(iter(stream))
    for state in (
        stream.state_dict(),
        stream.state_dict(after=batch),
        stream.state_dict(after=batch._replace(step=np.int64(0))),
    ):
        again = PairStream(corpus / "rain", **options)
        again.load_state_dict(json.loads(json.dumps(state)))
        assert next(iter(again)).pairs.tolist() == next(iter(stream)).pairs.tolist()
        stream.load_state_dict(state)


@pytest.mark.parametrize("state", WRONG, ids=str)
def test_states_that_are_none(corpus: Path, state: Any) -> None:
    with pytest.raises(StreamError, match="state"):
        PairStream(corpus / "rain", batch_size=4).load_state_dict(state)


@pytest.mark.parametrize("value", WRONG, ids=str)
def test_values_of_a_wrong_type(corpus: Path, value: Any) -> None:
    stream = PairStream(corpus / "rain", batch_size=4, weights={"rain": 1}, epoch_steps=9)
    good = stream.state_dict()
    for name in good:
        for state in (good | {name: value}, {key: kept for key, kept in good.items() if key != name}):
            with pytest.raises(StreamError, match="state") as found:
                stream.load_state_dict(state)
            assert len(str(found.value)) < 400
    for name in ("mode", "window"):
        with pytest.raises(StreamError, match="damaged"):
            stream.load_state_dict(good | {"shuffle": good["shuffle"] | {name: value}})
    for name in ("mode", "window"):
        with pytest.raises(StreamError, match="damaged"):
            stream.load_state_dict(good | {"shuffle": {name: good["shuffle"][name]}})
    assert stream.state_dict() == good


@pytest.mark.parametrize("epoch", [-1, 1.0, "1", None, True, 1 << 40])
def test_epochs_that_are_none(corpus: Path, epoch: Any) -> None:
    stream = PairStream(corpus / "rain", batch_size=4)
    with pytest.raises(StreamError, match=r"epoch: found .*, expected a whole number from 0 up"):
        stream.set_epoch(epoch)


@pytest.mark.parametrize("weight", [True, "1", None, -1, float("nan"), float("inf"), 10**400, [1]])
def test_weights_that_are_no_numbers(corpus: Path, weight: Any) -> None:
    with pytest.raises(StreamError, match=r"weights: found .* for rain, expected a number from 0 up"):
        PairStream(corpus / "rain", batch_size=4, weights={"rain": weight})
