"""Networks in half precision and compiled: what they compute with, and what happens where that does not work."""

import functools
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters
from torch.backends import cudnn

from iptdata.errors import EvaluateFailed
from iptdata.restoration import Restorer, network, photos, restore
from tests.conftest import natural_image, save
from tests.networks import identity_edsr


def computed_with(restorer: Restorer, image: np.ndarray) -> torch.dtype:
    """Type of the features that the body of the network gives for an image."""
    seen: list[torch.dtype] = []
    body = restorer.model.get_submodule("body")
    hook = body.register_forward_hook(lambda _module, _inputs, features: seen.append(features.dtype))
    restorer(image)
    hook.remove()
    (found,) = set(seen)
    return found


@pytest.mark.parametrize(
    ("precision", "resolved", "dtype", "tolerance"),
    [
        ("auto", "fp32", torch.float32, 0),
        ("fp32", "fp32", torch.float32, 0),
        ("bf16", "bf16", torch.bfloat16, 1),
        ("fp16", "fp16", torch.float16, 1),
    ],
)
def test_what_a_network_computes_with(
    edsr_file: str, precision: str, resolved: str, dtype: torch.dtype, tolerance: int
) -> None:
    image = natural_image(30, 40)
    restorer = Restorer(edsr_file, "sr2", precision=precision, device="cpu")
    assert restorer.precision == restorer.with_task("noise30").precision == resolved
    assert computed_with(restorer, image) == dtype
    assert np.abs(restorer(image).astype(int) - image.repeat(2, 0).repeat(2, 1)).max() <= tolerance


def test_on_a_gpu_auto_is_fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, device: self)
    found = [network.TileNetwork(identity_edsr(), torch.device(kind), "auto", 1).precision for kind in ("cuda", "cpu")]
    assert found == ["fp16", "fp32"]


@pytest.mark.parametrize("compiled", [False, True])
def test_what_exceeds_the_range_of_fp16_is_computed_in_fp32(
    huge_file: str, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    monkeypatch.setattr(network, "compile_error", lambda device: None)
    full = Restorer(huge_file, precision="fp32", device="cpu")
    half = Restorer(huge_file, precision="fp16", compile=compiled, device="cpu")
    counters.clear()
    half(np.full((20, 20, 3), 110, np.uint8))
    assert not [note for note in half.notes if "range of fp16" in note]
    bright = natural_image(20, 20)
    assert bright.max() > 200
    assert np.array_equal(half(bright), full(bright))
    half(bright)
    assert [note for note in half.notes if "range of fp16" in note] == [
        "values exceed the range of fp16; those tiles are computed in fp32"
    ]
    assert counters["stats"]["unique_graphs"] == (3 if compiled else 0), "head, body and tail, and not again for float32"


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_what_exceeds_the_range_of_fp32_fails(precision: str, huge_file: str) -> None:
    """After fp32 nothing else is tried, and it is not said to have helped."""
    restorer, calls = Restorer(huge_file, precision=precision, device="cpu"), []
    restorer.model.get_submodule("head")[0][0].weight.data *= 1e34  # pyright: ignore[reportIndexIssue, reportOperatorIssue]
    restorer.model.register_forward_hook(lambda *_: calls.append(precision))
    with pytest.raises(EvaluateFailed, match="the result of the network is not finite"):
        restorer(natural_image(20, 20))
    assert len(calls) == (1 if precision == "fp32" else 2)
    assert not [note for note in restorer.notes if "range" in note]


@pytest.mark.parametrize(("times", "noted"), [(11.2, True), (0.5, False)])
def test_half_precision_that_is_slow_is_noted(
    edsr_file: str, times: float, noted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "slowdown", lambda device, dtype: times)
    expected = ("bf16 takes 11.2 times as long as fp32 on this CPU, for a product of matrices",)
    assert Restorer(edsr_file, precision="bf16", device="cpu").notes == (expected if noted else ())
    assert Restorer(edsr_file, device="cpu").notes == ()


@pytest.mark.parametrize("name", ["benchmark", "deterministic", "enabled"])
@pytest.mark.parametrize("value", [False, True])
def test_tf32_is_off_in_fp32_and_as_before_afterwards(name: str, value: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cudnn, name, value)
    before = settings()
    with network._without_tf32(torch.device("cuda")):
        assert settings() == before | {"allow_tf32": False, "matmul": "highest"}
    assert settings() == before


def settings() -> dict[str, Any]:
    """Those of PyTorch that TF32 depends on, and those beside them."""
    found = {name: getattr(cudnn, name) for name in ("allow_tf32", "enabled", "benchmark", "deterministic")}
    return found | {"matmul": torch.get_float32_matmul_precision()}


def test_products_of_matrices_are_without_tf32_too() -> None:
    """Also where the user, or the environment, allows it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with network._without_tf32(torch.device("cuda")):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


NEWER = """
import torch
from iptdata.restoration import network

*names, name, value = {names!r}
owner = torch.backends
for part in names:
    owner = getattr(owner, part)
setattr(owner, name, value)
settings = [torch.backends.cudnn.conv, torch.backends.cuda.matmul]
before = [setting.fp32_precision for setting in settings]
for _ in range(2):
    with network._without_tf32(torch.device("cuda")):
        assert [setting.fp32_precision for setting in settings] == ["ieee", "ieee"]
    assert [setting.fp32_precision for setting in settings] == before
"""


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="settings since PyTorch 2.9")
@pytest.mark.parametrize(
    "names",
    [("cudnn", "conv", "fp32_precision", "ieee"), ("cuda", "matmul", "fp32_precision", "tf32"), ("fp32_precision", "tf32")],
    ids=str,
)
def test_tf32_is_off_where_the_user_has_the_newer_settings(names: tuple[str, ...]) -> None:
    """PyTorch refuses to read the older ones then. A process of its own, since they cannot be unset."""
    subprocess.run([sys.executable, "-c", NEWER.format(names=names)], check=True)


def test_two_threads_leave_tf32_as_it_was() -> None:
    """The second waits: otherwise it would take the settings of the first for those to restore."""
    before, seen = settings(), []

    def other() -> None:
        with network._without_tf32(torch.device("cuda")):
            seen.append(settings()["allow_tf32"])

    thread = threading.Thread(target=other)
    with network._without_tf32(torch.device("cuda")):
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
    thread.join(20)
    assert seen == [False]
    assert settings() == before


def test_a_compiled_network_is_compiled_once_for_photos_of_any_width(edsr_file: str) -> None:
    """Neither the number of tiles of the last batch nor the layout of a turned tile compiles it again."""
    options: dict[str, Any] = {"self_ensemble": True, "overlap": 0, "batch_size": 2, "device": "cpu"}
    eager, compiled = Restorer(edsr_file, "noise30", **options), Restorer(edsr_file, "noise30", compile=True, **options)
    assert compiled.notes == ()
    assert compiled.execution.compiled
    counters.clear()
    for width in (384, 500, 192):  # of two tiles, three and one
        image = natural_image(20, width)
        assert np.abs(compiled(image).astype(int) - eager(image)).max() <= 1
    assert 1 <= counters["stats"]["unique_graphs"] <= 3, "more than one for each of head, body and tail"
    assert len(compiled._network(torch.zeros(1, 3, 192, 192), 0)) == 1, "a batch is filled up and cut again"


def test_a_compiled_network_that_fails(edsr_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory may not be the reason."""
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: None)
    monkeypatch.setattr(network, "compile_error", lambda device: None)
    monkeypatch.setattr(network.TileNetwork, "__call__", lambda self, x, head: torch.zeros(2) + torch.zeros(3))
    for compiled, hint in ((False, "Try a smaller batch_size."), (True, "Try a smaller batch_size, or compile=False.")):
        with pytest.raises(EvaluateFailed, match=f"the network failed: The size of tensor a .*{hint}$"):
            Restorer(edsr_file, compile=compiled, device="cpu")(natural_image(8, 8))


def test_the_name_of_a_gpu(edsr_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    restorer = Restorer(edsr_file, device="cpu")
    monkeypatch.setattr(Restorer, "on_gpu", True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    assert str(restorer.execution) == "a GPU, fp32, tiles of 192x192 with overlap 10"


def test_without_a_compiler_a_network_is_eager(edsr_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("No working C++\ncompiler found")

    monkeypatch.setattr(torch, "compile", fails)
    restorer = Restorer(edsr_file, compile=True, device="cpu")
    assert restorer.notes == ("the network is not compiled: No working C++ compiler found",)
    assert not restorer.execution.compiled
    image = natural_image(30, 40)
    assert np.array_equal(restorer(image), image)


@pytest.mark.parametrize(
    ("on_gpu", "finished", "options", "expected"),
    [
        (True, 0, {}, True),
        (False, 0, {}, False),
        (True, 1, {}, False),
        (True, 1, {"overwrite": True}, True),
        (True, 0, {"compile": False}, False),
    ],
)
def test_many_photos_on_a_gpu_are_restored_by_a_compiled_network(
    on_gpu: bool,
    finished: int,
    options: dict[str, Any],
    expected: bool,
    folder: Path,
    edsr_file: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def compiled(self: Restorer) -> None:
        calls.append(self)

    monkeypatch.setattr(photos, "COMPILE_FROM", 3)
    monkeypatch.setattr(Restorer, "on_gpu", on_gpu)
    monkeypatch.setattr(Restorer, "compile", compiled)
    for number in range(3):
        save(folder / f"{number}.png", natural_image(20, 20, number))
    for number in range(finished):
        save(folder / "out" / f"{number}.png", natural_image(20, 20, number))
    (folder / "loop.png").symlink_to("loop.png")
    results = restore(folder, folder / "out", edsr_file, "noise30", device="cpu", **options)
    assert [result.path for result in results if result.status == "failed"] == [str(folder / "loop.png")]
    assert bool(calls) == expected
