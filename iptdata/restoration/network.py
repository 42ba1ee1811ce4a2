"""Run a network on batches of tiles: in float32 or half precision, eager or compiled."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from iptdata.model.compiled import compile_error, compile_in_place
from iptdata.model.half_precision import MUCH_SLOWER, slowdown

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_SETTINGS = threading.RLock()  # those of PyTorch belong to the process, and threads that restore them in turns mix them up


class TileNetwork:
    """A network in evaluation mode on a device.

    Args:
        model: The network; `model(x, head)[0]` is the result.
        device: Device that it is moved to.
        precision: "fp32", "bf16", "fp16", or "auto": fp16 on a GPU, fp32 elsewhere.
        batch_size: Maximum number of tiles passed at once.

    Attributes:
        model: The network.
        device: Its device.
        precision: "fp32", "bf16" or "fp16".
        compiled: Whether it is compiled.
        notes: What the user should know, one line each.
    """

    def __init__(self, model: nn.Module, device: torch.device, precision: str, batch_size: int) -> None:
        self.model: nn.Module = model.to(device).eval()
        self.device: torch.device = device
        self.precision: str = ("fp16" if device.type == "cuda" else "fp32") if precision == "auto" else precision
        self.compiled: bool = False
        self.notes: list[str] = []
        self._batch_size = batch_size
        if self.precision in _DTYPES and device.type == "cpu":
            times = slowdown(device, _DTYPES[self.precision])
            if times > MUCH_SLOWER:
                self._note(f"{self.precision} takes {times:.3g} times as long as fp32 on this CPU, for a product of matrices")

    def compile(self) -> None:
        """Compile the network; without a compiler it stays as it is, and a note has the reason."""
        if self.compiled:
            return
        if (error := compile_error(self.device)) is not None:
            self._note(f"the network is not compiled: {error}")
            return
        compile_in_place(self.model)
        self.compiled = True

    @torch.inference_mode()
    def __call__(self, x: torch.Tensor, head: int) -> torch.Tensor:
        """Restore a batch with one of the heads.

        A batch whose result exceeds the range of the half precision (65,504 for fp16), here or in any layer, is computed again
        in float32, once: infinities and the NaN that follow from them reach the result.

        Args:
            x: Float32 (B, 3, h, w) on 0..255, on the device.
            head: Index of the head.

        Returns:
            Float32 (B, 3, scale * h, scale * w), not clipped; not finite where the network is not in float32 either.
        """
        if self.precision == "fp32":
            return self._in_fp32(x, head)
        with torch.autocast(self.device.type, _DTYPES[self.precision]):
            restored = self._forward(x, head).float()
        if restored.isfinite().all():
            return restored
        with _SETTINGS, torch.compiler.set_stance("force_eager"):  # rather than compiling the network again, for a few tiles
            restored = self._in_fp32(x, head)
        if restored.isfinite().all():
            self._note(f"values exceed the range of {self.precision}; those tiles are computed in fp32")
        return restored

    def _in_fp32(self, x: torch.Tensor, head: int) -> torch.Tensor:
        with _without_tf32(self.device):
            return self._forward(x, head)

    def _forward(self, x: torch.Tensor, head: int) -> torch.Tensor:
        if not self.compiled:
            return self.model(x, head)[0]
        # Of one shape and one layout, since any other is compiled again; the last batch of a photo may have any size.
        missing = self._batch_size - len(x)
        full = torch.cat([x, x[-1:].expand(missing, -1, -1, -1)]) if missing > 0 else x
        return self.model(full.contiguous(memory_format=torch.channels_last), head)[0][: len(x)]

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


@contextmanager
def _without_tf32(device: torch.device) -> Iterator[None]:
    """Compute in float32: cuDNN uses TF32, with 11 bits, by default, and products of matrices where the user allows it."""
    if device.type != "cuda":
        yield
        return
    with _SETTINGS, _with_fp32_precision() if _has_fp32_precision() else _with_flags():
        yield


@contextmanager
def _with_flags() -> Iterator[None]:
    cudnn, products = torch.backends.cudnn, torch.get_float32_matmul_precision()
    kept = {"enabled": cudnn.enabled, "benchmark": cudnn.benchmark, "deterministic": cudnn.deterministic}
    try:
        if products != "highest":
            torch.set_float32_matmul_precision("highest")
        with cudnn.flags(**kept, allow_tf32=False):
            yield
    finally:
        if products != "highest":
            torch.set_float32_matmul_precision(products)


@contextmanager
def _with_fp32_precision() -> Iterator[None]:
    settings = torch.backends.cudnn.conv, torch.backends.cuda.matmul  # pyright: ignore[reportAttributeAccessIssue]  # since 2.9
    kept = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        yield
    finally:
        for setting, value in zip(settings, kept, strict=True):
            setting.fp32_precision = value


def _has_fp32_precision() -> bool:
    """Whether the process uses the settings of PyTorch 2.9, with which those of `_with_flags` fail or do nothing."""
    try:
        _ = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    except RuntimeError:
        return True
    return getattr(torch.backends, "fp32_precision", "none") != "none"
