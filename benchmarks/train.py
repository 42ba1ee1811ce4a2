"""Measure a training step: its time, its share of the machine's rate, and the cost of the contrastive loss.

    python benchmarks/train.py

On a GPU it prints all forms of a step, inference and a run side by side, see train_gpu.py; `--parts` chooses others. On a CPU
each line is measured in a process of its own, so that its peak memory is its own; the lines alternate for several rounds, and
the best of each counts. The rate of matrix products, which shares refer to, is measured in the same process.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import torch
import train_gpu
from contrastive_cost import report_cost
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import normalize, scaled_dot_product_attention
from training_memory import report_memory
from training_steps import CUDA, SCALES, TASK, best, learner_of, pairs_of, peak_bytes

from iptdata.model.compiled import compile_in_place
from iptdata.model.ipt import attend
from iptdata.model.presets import make_model, preset
from iptdata.training.contrastive import TEMPERATURES, Form, contrastive_loss
from iptdata.training.ranks import joined
from iptdata.training.speed import matmul_rate, step_flops

REPORTED = {"forward": 0.40, "fp32": 1.6, "bf16": 0.75}  # seconds per patch, released model code on 2 cores, batch 4
TOKENS, WIDTH = 256, 576


def measure_step(model: str, batch: int, precision: str, loss: str, *, plain: bool, compiled: bool) -> dict[str, float]:
    """Seconds of a forward pass without gradient and of a training step, share and rate of matrix products, peak bytes."""
    with joined("auto") as ranks:
        config = preset(model, SCALES)
        network = make_model(config).to(ranks.device)
        if compiled:
            compile_in_place(network)
        learner = learner_of(network, ranks, batch, loss, bf16=precision == "bf16")
        pairs = pairs_of(TASK, batch, ranks)
        with sdpa_kernel(SDPBackend.MATH) if plain else nullcontext():
            forward = best(lambda: learner.restore(pairs.corrupted, TASK), ranks)
            step = best(lambda: learner.step(pairs, 0, 1e-5), ranks)
        peak = matmul_rate(ranks.device, torch.bfloat16 if precision == "bf16" else torch.float32)
        share = step_flops(config, 48)[TASK] * batch / step / peak
        return {"forward": forward / batch, "step": step / batch, "share": share, "peak": peak, "bytes": peak_bytes(ranks)}


def naive(tokens: torch.Tensor, form: Form) -> torch.Tensor:
    """The contrastive losses by their formulas, with the whole matrix."""
    images, count, _ = tokens.shape
    unit = normalize(tokens.reshape(images * count, -1), dim=-1)
    products = unit @ unit.T
    owner = torch.arange(images * count, device=tokens.device) // count
    same = owner[:, None] == owner
    if form == "supcon":
        itself = torch.eye(images * count, dtype=torch.bool, device=tokens.device)
        logarithm = (products / TEMPERATURES[form]).masked_fill(itself, float("-inf"))
        logarithm = logarithm - logarithm.logsumexp(1, keepdim=True)
        return -logarithm[same & ~itself].mean()
    blocks = products.view(images, count, images, count)
    own = torch.eye(images, dtype=torch.bool, device=tokens.device)[:, None, :, None]
    denominators = blocks.exp().masked_fill(own, 0.0).sum(2)
    return (denominators.log() - torch.einsum("jajb->jab", blocks)).mean()


def measure_contrastive(form: Form, images: int, *, whole: bool, half: bool = False) -> dict[str, float]:
    """Seconds of value and gradient, and the bytes that they take in addition to the tokens."""
    torch.manual_seed(0)
    with joined("auto") as ranks, torch.autocast(ranks.device.type, torch.bfloat16, enabled=half):
        parts = [torch.randn(shape, device=ranks.device) for shape in ((WIDTH,), (images, 1, WIDTH), (images, TOKENS, WIDTH))]
        tokens = sum(parts, torch.zeros((), device=ranks.device)).requires_grad_()  # similar, and more so within an image
        before = peak_bytes(ranks)
        value = 0.0

        def once() -> None:
            nonlocal value
            tokens.grad = None
            loss = (naive if whole else contrastive_loss)(tokens, form)
            loss.backward()
            value = float(loss)

        seconds = best(once, ranks)
        return {"seconds": seconds, "bytes": peak_bytes(ranks) - before, "value": value}


def measure_attention(*, formula: bool) -> dict[str, float]:
    """Seconds of attention of a layer of ipt-base, batch 4, forward and backward, in bf16, laid out as in the network."""
    with joined("auto") as ranks:
        projected = torch.randn(4, TOKENS, 3 * WIDTH, device=ranks.device, dtype=torch.bfloat16, requires_grad=True)
        slope = torch.randn(4, TOKENS, WIDTH, device=ranks.device, dtype=torch.bfloat16)
        attention = attend if formula else scaled_dot_product_attention

        def once() -> None:
            query, key, value = (x.view(4, TOKENS, 12, -1).transpose(1, 2) for x in projected.chunk(3, -1))
            attention(query, key, value).transpose(1, 2).reshape(4, TOKENS, WIDTH).backward(slope)

        return {"seconds": best(once, ranks)}


def measure_layout(model: str, *, channels_last: bool) -> dict[str, float]:
    """Seconds of a training step, batch 16, fp32, without update, by the layout of its input in memory."""
    with joined("auto") as ranks:
        network = make_model(preset(model, SCALES)).to(ranks.device)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        pixels = (255 * torch.rand(16, 3, 48, 48, device=ranks.device)).to(memory_format=layout)
        head = list(SCALES).index(TASK)
        return {"seconds": best(lambda: (network(pixels, head)[0] - pixels).abs().mean().backward(), ranks)}


def apart(function: str, *arguments: object, **options: object) -> dict[str, float]:
    """Call a function of this file in a process of its own."""
    call = json.dumps([function, arguments, options])
    done = subprocess.run([sys.executable, __file__, "--call", call], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{call}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def shortest(found: list[dict[str, float]], key: str) -> dict[str, float]:
    return min(found, key=lambda line: line[key])


def report_steps(model: str, batch: int, rounds: int) -> None:
    ways: dict[str, tuple[str, bool, bool]] = {"fp32, eager, plain attention": ("fp32", True, False)}
    if CUDA:
        ways["bf16, compiled: the default"] = ("bf16", False, True)
    else:
        ways |= {"fp32: the default": ("fp32", False, False), "bf16": ("bf16", False, False)}
    where = torch.cuda.get_device_name() if CUDA else f"{torch.get_num_threads()} threads"
    print(f"{model}, batch {batch}, {where}, seconds per patch")
    print(f"{'':<46}{'forward':>9}{'step':>9}{'patches/s':>11}{'of matmul':>11}{'peak memory':>13}")
    lines = [(way, loss) for way in ways for loss in ("l1", "paper", "supcon")]
    found: dict[tuple[str, str], list[dict[str, float]]] = {line: [] for line in lines}
    for _ in range(rounds):
        for way, loss in lines:
            precision, plain, compiled = ways[way]
            found[way, loss].append(apart("measure_step", model, batch, precision, loss, plain=plain, compiled=compiled))
    for (way, loss), measured in found.items():
        line = shortest(measured, "step")
        forward = shortest(measured, "forward")["forward"]
        print(
            f"{f'{way}; {loss}':<46}{forward:>9.4f}{line['step']:>9.4f}{1 / line['step']:>11,.2f}{line['share']:>11.0%}"
            f"{line['bytes'] / 1e9:>10.1f} GB",
            flush=True,
        )
    if CUDA or model != "ipt-base":
        return
    plain, half = (found[way, "l1"] for way in ("fp32: the default", "bf16"))
    reached = {"forward": shortest(plain, "forward")["forward"]}
    reached |= {"fp32": shortest(plain, "step")["step"], "bf16": shortest(half, "step")["step"]}
    for name, theirs in REPORTED.items():
        print(f"{name}: {theirs / reached[name]:.2f}x faster than the {theirs} s reported for the released model code")


def report_contrastive(rounds: int) -> None:
    print(f"\n{'contrastive loss':<38}{'naive':>8}{'ours':>8}{'faster':>8}{'naive':>9}{'ours':>9}  values differ")
    for form in ("paper", "supcon"):
        for images in (64, 256) if CUDA else (16, 32):
            measured = [
                shortest([apart("measure_contrastive", form, images, whole=whole) for _ in range(rounds)], "seconds")
                for whole in (True, False)
            ]
            half = apart("measure_contrastive", form, images, whole=False, half=True)
            theirs, ours = measured
            exact, bf16 = (abs(theirs["value"] - found["value"]) for found in (ours, half))
            print(
                f"{f'{form}, {images} images':<38}{theirs['seconds']:>7.2f}s{ours['seconds']:>7.2f}s"
                f"{theirs['seconds'] / ours['seconds']:>7.1f}x{theirs['bytes'] / 1e9:>6.2f} GB{ours['bytes'] / 1e9:>6.2f} GB"
                f"  by {exact:.0e}, blocks in bf16 by {bf16:.0e}, of {theirs['value']:.2f}",
                flush=True,
            )
        if not CUDA:
            ours = apart("measure_contrastive", form, 256, whole=False)
            print(
                f"{f'{form}, 256 images':<46}{ours['seconds']:>7.2f}s{ours['bytes'] / 1e9:>23.2f} GB",
                flush=True,
            )


def report_choices(rounds: int) -> None:
    """Compare choices that were made by measurement with their alternatives."""
    choices: list[tuple[str, str, tuple[str, ...], str]] = [
        ("attention in bf16, fused -> formula", "measure_attention", (), "formula")
    ]
    for model in ("edsr-tiny", "ipt-tiny"):
        choices.append((f"{model}, step, contiguous -> channels_last", "measure_layout", (model,), "channels_last"))
    print()
    for name, function, arguments, option in choices:
        before, after = (
            min(apart(function, *arguments, **{option: flag})["seconds"] for _ in range(rounds)) for flag in (False, True)
        )
        print(f"{name:<46}{before:>9.4f} ->{after:>8.4f} s{before / after:>8.2f}x", flush=True)


def report_wait(model: str) -> None:
    """Share of the time of a run spent waiting for data, from its metrics.jsonl."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "iptdata"]
        build = [
            "build",
            "--recipe",
            "rain",
            "--recipe",
            "sr2",
            "--patches-per-image",
            "64",
            "--out",
            f"{name}/corpus",
            "--workers",
            "0",
        ]
        batch = ["--batch-size", "256" if CUDA else "32", "--steps", "60" if CUDA else "20"]
        run = ["train", "--shards", f"{name}/corpus", "--model", model, "--out", f"{name}/run", *batch]
        for arguments in (build, run):
            subprocess.run([*command, *arguments], check=True, capture_output=True)
        lines = [json.loads(line) for line in Path(name, "run", "metrics.jsonl").read_text().splitlines()]
    lines = lines[len(lines) // 4 :]
    seconds = [1 / line["patches_per_s"] for line in lines]
    wait = sum(line["data_wait"] * time for line, time in zip(lines, seconds, strict=True)) / sum(seconds)
    print(f"\n{model}: {wait:.2%} of a step is spent waiting for data (wanted: under 2 %)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ipt-base")
    parser.add_argument("--batch-size", type=int, default=256 if CUDA else 4)
    parser.add_argument("--rounds", type=int, default=3)
    parts = "gpu" if CUDA else "steps,contrastive,contrastive-cost,choices,memory,wait"
    parser.add_argument(
        "--parts", default=parts, help="which of gpu, steps, contrastive, contrastive-cost, choices, memory and wait to run"
    )
    parser.add_argument("--released", metavar="FOLDER", help="the released PyTorch code, to measure beside ours on a GPU")
    parser.add_argument("--call", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        function, arguments, named = json.loads(options.call)
        print(json.dumps(globals()[function](*arguments, **named)))
        return
    parts = options.parts.split(",")
    if "gpu" in parts:
        train_gpu.report(options.model, options.batch_size, options.released)
    if "steps" in parts:
        report_steps(options.model, options.batch_size, options.rounds)
    if "contrastive" in parts:
        report_contrastive(options.rounds)
    if "contrastive-cost" in parts:
        report_cost(256, TOKENS, WIDTH)
    if "choices" in parts:
        report_choices(options.rounds)
    if "memory" in parts:
        report_memory(256, TOKENS, WIDTH)
    if "wait" in parts:
        report_wait("ipt-base" if CUDA else "ipt-tiny")


if __name__ == "__main__":
    main()
