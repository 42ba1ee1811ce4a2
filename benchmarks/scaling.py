"""Model what a training step of ipt-base takes on several GPUs. Nothing is measured here.

    python benchmarks/scaling.py

Prints the tables of docs/training.md from the inputs below: what was measured on one H100 (with an earlier version of this
code, and with prototypes of what it does now), the sizes of the network, and assumed bandwidths. A reduction takes what a ring
takes, in which each of n GPUs sends 2 (n - 1) / n of the bytes; a gather or a reduce-scatter takes half of that. Latency, and
that a reduction slows down the computation beside it, are not modelled.
"""

from dataclasses import dataclass

import torch
from training_memory import contrastive_bytes, measure_memory
from training_steps import SCALES, TASK

from iptdata.model.presets import make_model, preset
from iptdata.training.contrastive_blocks import upper_blocks
from iptdata.training.ranks import Ranks

LARGEST_TASK = "sr4"  # by its memory
PAPER_PATCHES, RELEASED_PATCHES = 300 * 10.2e6, 300 * 1.28e6

# Measured on one H100, batch 256, bf16, compiled.
BATCH = 256
L1_MS = 151.7  # a step with L1 alone; prototype with bf16 between layers
CONTRASTIVE_MS = 21.7  # value and gradient of 65,536 tokens of 576 numbers; prototype with compiled blocks
FORWARD_MS, PASSES_MS, OPTIMIZER_MS = 52.6, 164.9, 2.9  # forward, forward and backward, Adam; earlier version
L1_GB = 35.0  # peak memory of a step with L1 alone; the same prototype

# Assumed.
NVLINK, NETWORK = 450e9, 50e9  # bytes a second in each direction: of a GPU in a node of eight, and of one of its network cards
LAUNCHES_MS = 10.0  # what the CPU needs for the launches of the network's kernels, however few patches there are
BUCKET_BYTES = 25 * 2**20  # of DistributedDataParallel


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of values.

    Attributes:
        body: Trained parameters that every step uses, queries of all tasks included.
        head_and_tail: Trained parameters of the head and tail of a task.
        tokens: Tokens per patch.
        width: Values per token.
    """

    body: int
    head_and_tail: int
    tokens: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step on several GPUs, in milliseconds per GPU.

    Attributes:
        gpus: Number of GPUs.
        batch: Patches of all GPUs.
        tokens: Tokens per patch that the contrastive loss compares.
        bandwidth: Bytes per second in each direction, from a GPU to the next of the ring or rings.
        network: Forward and backward pass, and update of the weights.
        contrastive: Blocks of the contrastive loss.
        gradients: Reduction of the body's gradients, most of it beside the backward pass.
        exposed: What the GPU waits for: the rest of that, gradients of head and tail, tokens and their gradients.
    """

    gpus: int
    batch: int
    tokens: int
    bandwidth: float
    network: float
    contrastive: float
    gradients: float
    exposed: float

    @property
    def total(self) -> float:
        return self.network + self.contrastive + self.exposed

    @property
    def rate(self) -> float:
        """Patches per second."""
        return self.batch / self.total * 1e3


def sizes() -> Sizes:
    """Sizes of ipt-base."""
    config = preset("ipt-base", SCALES)
    with torch.device("meta"):
        model = make_model(config)
    head = list(SCALES).index(TASK)
    trained = {name: weight.numel() for name, weight in model.named_parameters() if weight.requires_grad}
    of_task = sum(count for name, count in trained.items() if name.startswith((f"head.{head}.", f"tail.{head}.")))
    body = sum(count for name, count in trained.items() if name.startswith("body."))
    return Sizes(body=body, head_and_tail=of_task, tokens=config.tokens, width=config.width)  # pyright: ignore


def ring_ms(count: float, gpus: int, bandwidth: float, passes: int = 2) -> float:
    """Time to reduce `count` bytes, or with one pass to gather or to scatter them."""
    return passes * (gpus - 1) / gpus * count / bandwidth * 1e3


def largest_share(tokens: int, images: int, gpus: int) -> float:
    """Share of the contrastive loss's blocks, by their elements, of the GPU that has most of them."""

    def elements(rank: int) -> int:
        blocks = upper_blocks(tokens, images, torch.device("cuda"), Ranks(rank=rank, size=gpus))
        return sum((first.stop - first.start) * (second.stop - second.start) for first, second in blocks)

    counts = [elements(rank) for rank in range(gpus)]
    return max(counts) / sum(counts)


def step(size: Sizes, gpus: int, batch: int, bandwidth: float, tokens: int | None = None, *, recomputed: bool = False) -> Step:
    """A step of `batch` patches over `gpus` GPUs; with `recomputed` activations are computed again in the backward pass."""
    compared = size.tokens if tokens is None else tokens
    forward_share = FORWARD_MS / PASSES_MS
    passes = max(LAUNCHES_MS, (L1_MS - OPTIMIZER_MS) * batch / gpus / BATCH)
    backward = passes * (1 - forward_share)
    recomputation = passes * forward_share if recomputed else 0.0
    share = largest_share(compared, batch, gpus)
    work = CONTRASTIVE_MS * (batch * compared / (BATCH * size.tokens)) ** 2
    gradients = ring_ms(4 * size.body, gpus, bandwidth)
    last_bucket = ring_ms(min(BUCKET_BYTES, 4 * size.body), gpus, bandwidth)
    values = batch * compared * size.width
    exposed = max(last_bucket, gradients - backward) + ring_ms(4 * size.head_and_tail, gpus, bandwidth)
    exposed += ring_ms(2 * values, gpus, bandwidth, 1) + ring_ms(4 * values, gpus, bandwidth, 1)  # bf16 tokens, fp32 gradients
    return Step(
        gpus=gpus,
        batch=batch,
        tokens=compared,
        bandwidth=bandwidth,
        network=passes + recomputation + OPTIMIZER_MS,
        contrastive=work * share,
        gradients=gradients,
        exposed=exposed,
    )


def print_scaling(size: Sizes) -> None:
    one = step(size, 1, BATCH, NVLINK)
    cases = [(1, BATCH, NVLINK, None), (8, BATCH, NVLINK, None), (64, BATCH, NETWORK, None), (64, BATCH, 8 * NETWORK, None)]
    cases += [(8, 8 * BATCH, NVLINK, None), (64, 64 * BATCH, NETWORK, None), (64, 64 * BATCH, 8 * NETWORK, None)]
    cases += [(8, 8 * BATCH, NVLINK, 64), (64, 64 * BATCH, 8 * NETWORK, 32)]
    print(
        "| GPUs | batch | a GPU | GB/s | tokens | network | contrastive | gradients | exposed | step | patches/s | efficiency |"
    )
    print("| ---: " * 12 + "|")
    for gpus, batch, bandwidth, tokens in cases:
        s = step(size, gpus, batch, bandwidth, tokens)
        print(
            f"| {gpus} | {batch:,} | {batch // gpus} | {'' if gpus == 1 else f'{bandwidth / 1e9:.0f}'} | {s.tokens} "
            f"| {s.network:.1f} | {s.contrastive:,.1f} | {s.gradients:.1f} | {s.exposed:.1f} | {s.total:,.1f} | {s.rate:,.0f} "
            f"| {s.rate / one.rate / gpus:.0%} |"
        )


def needs_gb(size: Sizes, batch: int = BATCH, compared: int = BATCH, *, checkpointed: bool = False) -> float:
    """Memory of a GPU for a step of any task: what is kept for the backward pass, and beyond that what the measured step needs.

    Args:
        size: Sizes of the network.
        batch: Patches at once on a GPU; what is needed beyond grows with it.
        compared: Images that the contrastive loss compares, on all GPUs.
        checkpointed: Whether activations of the body are computed again.
    """

    def kept(task: str, batch: int, *, checkpointed: bool = False) -> float:
        return sum(measure_memory(batch, task, size.tokens, size.width, checkpointed=checkpointed).values()) / 1e9

    beyond = (L1_GB - kept(TASK, BATCH)) * batch / BATCH
    loss = contrastive_bytes(compared, size.tokens, size.width) / 1e9
    return kept(LARGEST_TASK, batch, checkpointed=checkpointed) + beyond + loss


def print_hours(size: Sizes) -> None:
    one, again = step(size, 1, BATCH, NVLINK), step(size, 1, BATCH, NVLINK, recomputed=True)
    half = one.network + one.contrastive / 2  # two parts of a quarter of the pairs each
    eight = step(size, 8, BATCH, NVLINK)
    rows = [
        ("24 or 40 GB", 1, "256", "`--checkpoint-activations`", needs_gb(size, checkpointed=True), again.total),
        ("24 or 40 GB", 1, "2 x 128", "`--accumulate 2`", needs_gb(size, BATCH // 2, BATCH // 2), half),
        ("80 GB", 1, "256", "", needs_gb(size), one.total),
        ("24, 40 or 80 GB", 8, "32", "", needs_gb(size, BATCH // 8), eight.total),
    ]
    print("| memory of a GPU | GPUs | batch a GPU | options | needs, GB | step, ms | patches/s | paper, hours ", end="")
    print("| released code, hours |")
    print("| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for card, gpus, batch, options, gigabytes, ms in rows:
        rate = BATCH / ms * 1e3
        hours = " | ".join(f"{patches / rate / 3600:,.0f}" for patches in (PAPER_PATCHES, RELEASED_PATCHES))
        print(f"| {card} | {gpus} | {batch} | {options} | {gigabytes:.0f} | {ms:.1f} | {rate:,.0f} | {hours} |")


def main() -> None:
    size = sizes()
    print(f"body and queries {size.body:,} parameters, {4 * size.body / 1e6:.1f} MB of gradients a step")
    print(f"head and tail of {TASK} {size.head_and_tail:,} parameters, {4 * size.head_and_tail / 1e6:.2f} MB")
    for batch in (BATCH, 8 * BATCH, 64 * BATCH):
        values = batch * size.tokens * size.width
        operations = 3 * (batch * size.tokens) ** 2 * size.width  # of one half of the matrix: products, and two of the gradient
        print(
            f"batch {batch:,}: {batch * size.tokens:,} tokens, {2 * values / 1e6:,.1f} MB in bf16, gradients "
            f"{4 * values / 1e6:,.1f} MB, contrastive loss {operations / 1e12:,.1f} TFLOP"
        )
    print()
    print_scaling(size)
    print()
    print_hours(size)


if __name__ == "__main__":
    main()
