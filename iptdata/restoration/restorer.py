"""A trained network that restores images of any size."""

import copy
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from iptdata.errors import EvaluateError, EvaluateFailed, nearest, one_line
from iptdata.model.checkpoint import load_checkpoint
from iptdata.options import from_arguments
from iptdata.restoration.execution import Execution
from iptdata.restoration.network import TileNetwork
from iptdata.restoration.options import OVERLAP, RestorerOptions, default_overlap
from iptdata.restoration.tiles import count_tiles, restore_by_tiles

_LARGE_TILE = 192  # of networks that take any size


class Restorer:
    """The network of a checkpoint with one of its heads: `Restorer("runs/ipt-base-1", "noise50")(image)`.

    Args:
        checkpoint: Path of an iptdata checkpoint, or of the folder of a run: its best checkpoint, else its last one.
        task: Task whose head restores; the first of the network by default.
        options: Fields of `RestorerOptions`.

    Attributes:
        name: Identifies the restorer in JSON and CSV; the path of the checkpoint's file by default.
        scales: Scale of each task of the network, by task, in the order of the heads.
        task: Task whose head restores.
        tile_size: Side of a tile in pixels.
        overlap: Minimum number of pixels that neighbouring tiles share.
        batch_size: Tiles per batch.

    Raises:
        ModelError: When the checkpoint cannot be read.
        EvaluateError: When an option is not allowed, the device is missing, or the network has no such task.
    """

    def __init__(self, checkpoint: str | os.PathLike[str], task: str | None = None, **options: Any) -> None:
        chosen: RestorerOptions = from_arguments(RestorerOptions, options, EvaluateError)
        loaded = load_checkpoint(os.fspath(checkpoint))
        self._self_ensemble = chosen.self_ensemble
        self.name: str = loaded.path or os.fspath(checkpoint)
        self.tile_size: int = getattr(loaded.config, "patch_size", _LARGE_TILE)
        self.overlap: int = default_overlap(OVERLAP, self.tile_size) if chosen.overlap is None else chosen.overlap
        if self.overlap >= self.tile_size:
            raise EvaluateError(
                f"found {self.overlap}, expected 0 to {self.tile_size - 1}, less than the tile size {self.tile_size}",
                argument="overlap",
            )
        device = _device(chosen.device)
        self.batch_size: int = chosen.batch_size or _batch_size(device, self.tile_size)
        self.scales: dict[str, int] = dict(zip(loaded.config.tasks, loaded.config.scales, strict=True))
        self.task = loaded.config.tasks[0]
        self._network = TileNetwork(loaded.model(), device, chosen.precision, self.batch_size)
        if chosen.compile:
            self.compile()
        if task is not None:
            self._use_head(task)

    @property
    def scale(self) -> int:
        """Factor by which the result is larger than the image."""
        return self.scales[self.task]

    @property
    def model(self) -> torch.nn.Module:
        """The network, in evaluation mode on its device."""
        return self._network.model

    @property
    def precision(self) -> str:
        """Numbers that the network computes with: "fp32", "bf16" or "fp16"."""
        return self._network.precision

    @property
    def on_gpu(self) -> bool:
        """Whether the network is on a GPU."""
        return self._network.device.type == "cuda"

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know, one line each; more may follow as images are restored."""
        return tuple(self._network.notes)

    @property
    def execution(self) -> Execution:
        """Where and how the network restores."""
        device = self._network.device
        return Execution(
            device=torch.cuda.get_device_name(device) if self.on_gpu else "CPU",
            precision=self.precision,
            tile_size=self.tile_size,
            overlap=self.overlap,
            self_ensemble=self._self_ensemble,
            compiled=self._network.compiled,
        )

    def compile(self) -> None:
        """Compile the network, for all of its tasks, at the first batch; without a compiler it stays eager, see `notes`."""
        self._network.compile()

    def with_task(self, task: str, name: str | None = None) -> "Restorer":
        """The same network, which is not copied, with the head of another task.

        Args:
            task: Task whose head restores.
            name: Name of the new restorer; this one's by default.

        Raises:
            EvaluateError: When the network has no such task.
        """
        other = copy.copy(self)
        other._use_head(task)
        other.name = name or self.name
        return other

    def count_tiles(self, image: np.ndarray) -> int:
        """Number of tiles that an image (H, W, 3) is cut into."""
        return count_tiles(image.shape[0], image.shape[1], self.tile_size, self.overlap)

    def __call__(self, image: np.ndarray, *, on_tiles: Callable[[int], object] | None = None) -> np.ndarray:
        """Restore an image.

        Args:
            image: (H, W, 3) RGB on 0..255, uint8 or float32.
            on_tiles: Called after each batch with the number of its tiles.

        Returns:
            (scale * H, scale * W, 3) RGB, uint8.

        Raises:
            EvaluateError: When the array has another shape or dtype, or values that are not finite.
            EvaluateFailed: When the network fails, as without enough memory, or its result is not finite.
        """
        if not isinstance(image, np.ndarray):
            raise EvaluateError(f"found {type(image).__name__}, expected an array (H, W, 3)", argument="image")
        known = image.dtype == np.uint8 or image.dtype.kind == "f"
        if not known or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise EvaluateError(
                f"found {image.dtype} {image.shape}, expected uint8 or float32 (H, W, 3) RGB on 0..255", argument="image"
            )
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            raise EvaluateError("found values that are not finite, expected 0 to 255", argument="image")
        return restore_by_tiles(
            image,
            self._restore_patches,
            scale=self.scale,
            tile_size=self.tile_size,
            overlap=self.overlap,
            batch_size=self.batch_size,
            on_tiles=on_tiles,
        )

    def _use_head(self, task: str) -> None:
        if task not in self.scales:
            raise EvaluateError(f"{self.name} has no task {task!r}, expected one of {nearest(task, self.scales)}")
        self.task: str = task

    def _restore_patches(self, patches: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(patches).permute(0, 3, 1, 2).to(self._network.device)
        try:
            with torch.inference_mode():
                y = self._ensemble(x) if self._self_ensemble else self._forward(x)
        except torch.OutOfMemoryError as error:
            raise EvaluateFailed(
                f"CUDA out of memory with {len(patches)} tiles per batch", hint="Try a smaller `batch_size`"
            ) from error
        except RuntimeError as error:  # the CPU's allocator, cuDNN and failed kernels have no class of their own
            hint = "Try a smaller `batch_size`" + (", or `compile=False`" if self._network.compiled else "")
            raise EvaluateFailed(f"the network failed: {one_line(error, 200)}", hint=hint) from error
        restored = y.permute(0, 2, 3, 1).cpu().numpy()
        if not np.isfinite(restored).all():
            raise EvaluateFailed("the result of the network is not finite")
        return restored

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._network(x, list(self.scales).index(self.task))

    def _ensemble(self, x: torch.Tensor) -> torch.Tensor:
        """The mean of the results under the eight symmetries of a square, each mapped back."""
        results = []
        for turns in range(4):
            for flipped in (False, True):
                transformed = torch.rot90(x.flip(-1) if flipped else x, turns, (-2, -1))
                restored = torch.rot90(self._forward(transformed), -turns, (-2, -1))
                results.append(restored.flip(-1) if flipped else restored)
        return torch.stack(results).mean(0)


def _batch_size(device: torch.device, tile_size: int) -> int:
    return max(1, (64 if device.type == "cuda" else 8) * 48**2 // tile_size**2)


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise EvaluateError("found 'cuda', but no GPU is available", argument="device", hint="Use `device=cpu`")
    return torch.device("cpu" if name == "cpu" or not torch.cuda.is_available() else "cuda")
