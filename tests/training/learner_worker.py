"""Steps of a learner, in one process or as one of several ranks: python learner_worker.py FOLDER, with a file `cases.json`."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
import torch.distributed as dist

from iptdata.model.compiled import compile_in_place
from iptdata.model.layers import checkpoint_activations
from iptdata.model.presets import make_model, preset
from iptdata.model.transfer import freeze_body
from iptdata.stream.batch import Batch
from iptdata.stream.device import DeviceBatch
from iptdata.stream.share import Share
from iptdata.training.contrastive import Form
from iptdata.training.learner import Contrast, Learner
from iptdata.training.ranks import Ranks

SCALES = {"noise30": 1, "rain": 1, "sr2": 2}
BATCH, SIZE = 8, 12
_REDUCTION, _ATTENTION = "c10d::allreduce_", "aten::_scaled_dot_product_flash_attention_for_cpu_backward"


class Done(NamedTuple):
    """What a step left.

    Attributes:
        loss: Its loss.
        gradients: Gradients by name; None for a weight without one.
        weights: Weights by name.
        updates: How often Adam has updated a weight, by name.
        reductions: Number of reductions, 0 in a case that is not profiled.
        overlapped: Number of those that began before the backward pass reached the attention of the first layer.
    """

    loss: float
    gradients: dict[str, torch.Tensor | None]
    weights: dict[str, torch.Tensor]
    updates: dict[str, int]
    reductions: int
    overlapped: int


def steps_of(case: dict[str, Any], ranks: Ranks) -> list[Done]:
    """Train on a task per step; every rank starts with other weights."""
    torch.manual_seed(ranks.rank)
    scales = {task: SCALES[task] for task in case.get("tasks", SCALES)}
    model = make_model(preset(case.get("model", "ipt-tiny"), scales, SIZE, **case["network"]))
    if case.get("freeze"):
        freeze_body(model)
    if case.get("checkpoint_activations"):
        checkpoint_activations(model)
    if case.get("compile"):
        compile_in_place(model)
    contrast = Contrast(case.get("contrastive", 0.0), cast(Form, "paper"), None, 0)
    learner = Learner(
        model,
        {task: head for head, task in enumerate(scales)},
        ranks,
        batch_size=BATCH,
        accumulate=case.get("accumulate", 1),
        contrast=contrast,
        bf16=False,
        clip=case.get("clip"),
        ema=case.get("ema"),
    )
    profiled = case.get("profiled", False)
    return [_step(learner, task, index, scales[task], ranks, profiled) for index, task in enumerate(case["steps"])]


def _step(learner: Learner, task: str, index: int, scale: int, ranks: Ranks, profiled: bool) -> Done:
    generator = torch.Generator().manual_seed(index)
    clean = 255 * torch.rand(BATCH, 3, SIZE * scale, SIZE * scale, generator=generator)
    share = Share(batch_size=BATCH, rank=ranks.rank, world_size=ranks.size)
    rows = slice(share.start, share.stop)
    corrupted = clean[:, :, ::scale, ::scale] + 30 * torch.randn(BATCH, 3, SIZE, SIZE, generator=generator)
    batch = DeviceBatch(task, corrupted[rows], clean[rows], cast(Batch, None))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) if profiled else nullcontext() as profile:
        losses = learner.step(batch, index, 1e-3)
    named = dict(learner.model.named_parameters())
    states = learner.optimizer.state
    return Done(
        float(losses.l1 + learner.contrast.weight * losses.contrastive),
        {name: None if weight.grad is None else weight.grad.clone() for name, weight in named.items()},
        {name: tensor.clone() for name, tensor in learner.weights().items()},
        {name: int(states[weight]["step"]) if weight in states else 0 for name, weight in named.items()},
        *((0, 0) if profile is None else _reductions(profile)),
    )


def _reductions(profile: torch.profiler.profile) -> tuple[int, int]:
    events = sorted(profile.events() or (), key=lambda event: event.time_range.start)
    names: list[str] = [event.name for event in events]
    overlapped = names[: len(names) - names[::-1].index(_ATTENTION)]
    return names.count(_REDUCTION), overlapped.count(_REDUCTION)


def main() -> None:
    folder = Path(sys.argv[1])
    dist.init_process_group("gloo")
    ranks = Ranks(rank=dist.get_rank(), size=dist.get_world_size())
    cases = json.loads((folder / "cases.json").read_text())
    done = {name: list(map(tuple, steps_of(case, ranks))) for name, case in cases.items()}
    torch.save(done, folder / f"steps-{ranks.rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
