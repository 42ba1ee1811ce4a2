"""Measure all forms of training and inference on a GPU, beside the code that the authors released; see train.py.

Figures are medians of several calls after a warm-up, all in one process. A form that does not fit into memory has no figure. On
a CPU everything runs too, so that the script can be tried: `train.py --parts gpu --model ipt-tiny --batch-size 2`.
"""

import importlib
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from training_steps import CUDA, PATCH, SCALES, TASK, learner_of, pairs_of, peak_bytes, times

from iptdata.model.compiled import compile_in_place
from iptdata.model.ipt import IPTConfig, attend
from iptdata.model.layers import checkpoint_activations
from iptdata.model.presets import make_model, preset
from iptdata.stream import DeviceStream, PairStream, Preparation
from iptdata.training.contrastive import contrastive_loss
from iptdata.training.ranks import Ranks, joined
from iptdata.training.speed import matmul_rate, step_flops

HALF = torch.bfloat16 if CUDA else torch.float32  # what a training computes in by default
TASKS = ("noise30", "rain")  # of the stream and the run: of equal size, as that of the steps
BUDGET, STEPS, STREAMED = (2.0, 70, 400) if CUDA else (0.0, 6, 20)  # seconds a figure, steps of a run, batches of a stream


def eager(network: nn.Module) -> None:
    """Leave a network as it is."""


def checkpointed(network: nn.Module) -> None:
    """Compile a network that computes the layers of its body again in the backward pass."""
    checkpoint_activations(network)
    compile_in_place(network)


# How a network is prepared, and what is measured of it: name, loss, task. The first one is the default.
WAYS: dict[Callable[[nn.Module], object], tuple[tuple[str, str, str], ...]] = {
    compile_in_place: (
        ("compiled; L1 + paper: the default", "paper", TASK),
        ("compiled; L1 + supcon", "supcon", TASK),
        ("compiled; L1", "l1", TASK),
        ("compiled; L1; sr2", "l1", "sr2"),
        ("compiled; L1; sr4", "l1", "sr4"),
    ),
    checkpointed: (("compiled, checkpointed; L1 + paper", "paper", TASK),),
    nn.Module.compile: (("the whole network compiled at once; L1", "l1", TASK),),
    eager: (("eager; L1", "l1", TASK), ("eager; L1 + paper", "paper", TASK)),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is measured: a network, its batch, and where."""

    model: str
    config: IPTConfig
    batch: int
    ranks: Ranks

    def seconds(self, call: Callable[[], object]) -> float | None:
        """Median seconds of a call; None where the memory of the GPU is full."""
        try:
            return statistics.median(times(call, self.ranks, BUDGET, 3 if CUDA else 1))
        except torch.OutOfMemoryError:
            return None


@contextmanager
def fresh_memory(case: Case) -> Iterator[None]:
    """Free what earlier measurements left, and count the peak anew."""
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(case.ranks.device)
    yield


def report(model: str, batch: int, released: str | None) -> None:
    """Print everything.

    Args:
        model: Preset of an IPT.
        batch: Pairs per step.
        released: Folder of the released PyTorch code, which has the package `model`; None to leave it out.
    """
    with joined("auto") as ranks:
        config = preset(model, SCALES)
        if not isinstance(config, IPTConfig):
            raise SystemExit(f"{model} is not an IPT")
        case = Case(model=model, config=config, batch=batch, ranks=ranks)
        found = report_steps(case)
        if released is not None:
            report_released(case, released, found)
        report_contrastive(case)
        report_attention(case)
        report_inference(case)
        report_run(case, found[next(iter(found))])


def line(name: str, *figures: str) -> None:
    print(f"{name:<42}" + "".join(f"{figure:>12}" for figure in figures), flush=True)


def ratio(one: float | None, other: float | None) -> str:
    """`one / other`, for seconds of which `other` is ours or the faster one."""
    return "-" if one is None or other is None else f"{one / other:.2f}x"


def figure(seconds: float | None, unit: str = "ms") -> str:
    return "no memory" if seconds is None else f"{seconds * 1e3:,.1f} {unit}"


def rate(batch: int, seconds: float | None) -> str:
    return "-" if seconds is None else f"{batch / seconds:,.0f}"


def report_steps(case: Case) -> dict[str, float | None]:
    """Print whole training steps; returns their seconds by name."""
    ranks, peak = case.ranks, matmul_rate(case.ranks.device, HALF)
    flops = step_flops(case.config, PATCH)
    where = torch.cuda.get_device_name(ranks.device) if CUDA else f"CPU, {torch.get_num_threads()} threads"
    print(f"{case.model}, batch {case.batch}, {str(HALF).removeprefix('torch.')}, {where}, PyTorch {torch.__version__}")
    print(f"matrix products: {peak / 1e12:,.4g} TFLOP/s\n")
    line("training step", "time", "patches/s", "of default", "of products", "peak memory")
    found: dict[str, float | None] = {}
    for prepare, rows in WAYS.items():
        network = make_model(case.config).to(ranks.device)
        prepare(network)
        for name, loss, task in rows:
            with fresh_memory(case):
                compiled = CUDA and prepare is not eager
                learner = learner_of(network, ranks, case.batch, loss, bf16=CUDA, compiled=compiled)
                pairs = pairs_of(task, case.batch, ranks)
                seconds = case.seconds(lambda learner=learner, pairs=pairs: learner.step(pairs, 0, 1e-5))
            found[name] = seconds
            share = "-" if seconds is None else f"{flops[task] * case.batch / seconds / peak:.0%}"
            default = found[next(iter(found))]
            memory = f"{peak_bytes(ranks) / 1e9:.1f} GB"
            line(name, figure(seconds), rate(case.batch, seconds), ratio(seconds, default), share, memory)
            del learner, pairs
    return found


def report_released(case: Case, folder: str, ours: dict[str, float | None]) -> None:
    """Print training steps of the released code, at the largest batch that fits, beside ours with L1."""
    sys.path.insert(0, folder)
    released: Any = importlib.import_module("model.ipt")
    names = ("n_feats", "num_heads", "num_layers")
    arguments = Namespace(
        **{name: getattr(case.config, name) for name in names},
        rgb_range=255,
        n_colors=3,
        scale=list(SCALES.values()),
        patch_size=PATCH,
        patch_dim=3,
        num_queries=len(SCALES),
        dropout_rate=0,
        **dict.fromkeys(("no_mlp", "pos_every", "no_pos", "no_norm"), False),
    )
    print()
    line("released code, L1", "batch", "time", "patches/s", "ours, L1")
    rows: tuple[tuple[str, bool, bool], ...] = (("eager", False, CUDA), ("body compiled", True, CUDA), ("fp32", False, False))
    for name, compiled, half in rows:
        network = released.ipt(arguments).to(case.ranks.device)
        network.set_scale(list(SCALES).index(TASK))
        if compiled:
            network.body.compile()
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-5)
        batch, seconds = case.batch, None
        while batch and seconds is None:
            with fresh_memory(case):
                pixels = pairs_of(TASK, batch, case.ranks).corrupted.contiguous()

                def step(network: nn.Module = network, optimizer: Any = optimizer, pixels: torch.Tensor = pixels) -> None:
                    optimizer.zero_grad()
                    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=half):  # noqa: B023 - called in this round
                        restored = network(pixels)
                    (restored.float() - pixels).abs().mean().backward()
                    optimizer.step()

                seconds = case.seconds(step)
            batch = batch if seconds is not None else batch // 2
        own = ours["compiled; L1" if compiled or not half else "eager; L1"]
        faster = "-" if own is None or seconds is None else f"{case.batch / own / (batch / seconds):.2f}x"
        line(f"{name}, {'bf16' if half else 'fp32'}", f"{batch:,}", figure(seconds), rate(batch, seconds), faster)


def report_contrastive(case: Case) -> None:
    """Print the contrastive loss alone, value and gradient, of a batch's tokens."""
    config, device = case.config, case.ranks.device
    print()
    line("contrastive loss, value and gradient", "time", "peak memory")
    for form, compiled in itertools.product(("paper", "supcon"), (True, False) if CUDA else (False,)):
        with fresh_memory(case):
            shapes = ((config.width,), (case.batch, 1, config.width), (case.batch, config.tokens, config.width))
            parts = [torch.randn(shape, device=device) for shape in shapes]
            tokens = sum(parts, torch.zeros((), device=device)).requires_grad_()  # similar, and more so within an image

            def once(form: Any = form, tokens: torch.Tensor = tokens, compiled: bool = compiled) -> None:
                tokens.grad = None
                with torch.autocast(device.type, torch.bfloat16, enabled=CUDA):
                    loss = contrastive_loss(tokens, form, compiled=compiled)
                loss.backward()

            seconds = case.seconds(once)
        line(
            f"{form}{', compiled' if compiled else ''}, {case.batch * config.tokens:,} tokens",
            figure(seconds),
            f"{peak_bytes(case.ranks) / 1e9:.1f} GB",
        )


def report_attention(case: Case) -> None:
    """Print attention of a layer, forward and backward, by backend, laid out as in the network."""
    batch, tokens, width = case.batch, case.config.tokens, case.config.width
    projected = torch.randn(batch, tokens, 3 * width, device=case.ranks.device, dtype=HALF, requires_grad=True)
    slope = torch.randn(batch, tokens, width, device=case.ranks.device, dtype=HALF)

    def once(attention: Callable[..., torch.Tensor]) -> None:
        parts = (x.view(batch, tokens, case.config.num_heads, -1).transpose(1, 2) for x in projected.chunk(3, -1))
        attention(*parts).transpose(1, 2).reshape(batch, tokens, width).backward(slope)

    print()
    line("attention of a layer, both ways", "time", "of default")
    default = case.seconds(lambda: once(scaled_dot_product_attention))
    line("PyTorch's choice", figure(default), "1.00x")
    for name in ("CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH"):
        try:
            with sdpa_kernel(getattr(SDPBackend, name)):
                seconds = case.seconds(lambda: once(scaled_dot_product_attention))
        except RuntimeError:  # this device, type or size of the heads is not supported
            line(name, "-", "-")
        else:
            line(name, figure(seconds), ratio(seconds, default))
    seconds = case.seconds(lambda: once(attend))
    line("the formula", figure(seconds), ratio(seconds, default))


def report_inference(case: Case) -> None:
    """Print forward passes without gradient by precision, eager, and how far their results are from those of float32."""
    device = case.ranks.device
    network = make_model(case.config).to(device).eval()
    pixels = pairs_of(TASK, case.batch, case.ranks).corrupted
    head = list(SCALES).index(TASK)

    def forward(dtype: torch.dtype | None) -> torch.Tensor:
        with torch.no_grad(), torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            return network(pixels, head)[0].float()

    exact, base = forward(None), None
    print()
    line("forward pass, fresh weights", "time", "patches/s", "of fp32", "differs by")
    for name, dtype in (("fp32", None), ("TF32", None), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        torch.set_float32_matmul_precision("high" if name == "TF32" else "highest")
        seconds = case.seconds(lambda dtype=dtype: forward(dtype))
        base = base or seconds
        difference = f"{float((forward(dtype) - exact).abs().max()):.3f}"
        line(name, figure(seconds), rate(case.batch, seconds), ratio(seconds, base), difference)
    torch.set_float32_matmul_precision("highest")


def iptdata(*arguments: object) -> None:
    done = subprocess.run([sys.executable, "-m", "iptdata", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"iptdata {arguments[0]}: {done.stderr.strip()[-500:]}")


def report_run(case: Case, step: float | None) -> None:
    """Print the stream alone, and `iptdata train` on real shards beside the step of the default."""
    if CUDA:
        torch.cuda.empty_cache()
    with tempfile.TemporaryDirectory() as name:
        corpus, run = Path(name, "corpus"), Path(name, "run")
        recipes = ("--recipe", ",".join(TASKS), "--patches-per-image", 64 if CUDA else 8)
        iptdata("build", *recipes, "--out", corpus, "--workers", 0)
        streamed = pairs_per_second(case, str(corpus))
        way = ("--model", case.model, "--batch-size", case.batch, "--precision", "bf16" if CUDA else "fp32", "--compile")
        iptdata("train", "--shards", corpus, "--out", run, "--steps", STEPS, *way)
        records = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()][STEPS // 4 :]
    reached = statistics.median(record["patches_per_s"] for record in records)
    wait = statistics.mean(record["data_wait"] for record in records)
    peak = records[-1]["peak_memory"]
    print()
    line("DeviceStream alone", f"{streamed:,.0f}", "pairs/s")
    line(f"`iptdata train`, {STEPS} steps", f"{reached:,.0f}", "patches/s")
    line("  of the step of the default above", "-" if step is None else f"{reached * step / case.batch:.2f}x")
    line("  share of time that it waits for data", f"{wait:.1%}")
    line("  peak memory", "-" if peak is None else f"{peak / 1e9:.1f} GB")


def pairs_per_second(case: Case, corpus: str) -> float:
    """Rate of a stream on the device, after a tenth of its batches."""
    pairs = PairStream(corpus, tasks=TASKS, batch_size=case.batch, weights="equal", epoch_steps=STREAMED)
    start, rows = 0.0, 0
    for index, batch in enumerate(DeviceStream(pairs, case.ranks.device, Preparation())):
        rows += len(batch.corrupted)
        if index == STREAMED // 10:
            if CUDA:
                torch.cuda.synchronize(case.ranks.device)
            start, rows = time.perf_counter(), 0
    if CUDA:
        torch.cuda.synchronize(case.ranks.device)
    return rows / (time.perf_counter() - start)
