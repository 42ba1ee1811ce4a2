"""What restores an image: a network, or one of the baselines that it has to beat."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from iptdata.degradations.bicubic import imresize
from iptdata.errors import EvaluateError, EvaluateFailed, nearest
from iptdata.model.checkpoint import load_checkpoint
from iptdata.model.parts import TasksConfig
from iptdata.restoration.tiles import restore_by_tiles

OVERLAP = 10  # as the paper has it
_LARGE_TILE = 192  # of networks that take any size


class Restorer(Protocol):
    """Restores images; `name` is what JSON and CSV call it."""

    @property
    def name(self) -> str: ...

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) RGB on 0..255, uint8 or float32, to (scale * H, scale * W, 3) uint8."""
        ...


@dataclass(frozen=True)
class Identity:
    """Leaves the image as it is, rounded and clipped."""

    name: str = "identity"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Bicubic:
    """Enlarges by MATLAB's bicubic interpolation."""

    scale: int
    name: str = "bicubic"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return imresize(image, self.scale)


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network of ours with one of its heads.

    Attributes:
        config: tasks and scales of its heads; task: number of the one that is used.
        tile, overlap: see `restore_by_tiles`; batch: tiles at once.
        self_ensemble: the mean over eight flips and rotations of each tile.
    """

    model: torch.nn.Module
    config: TasksConfig
    task: int
    tile: int
    overlap: int
    batch: int
    device: torch.device
    self_ensemble: bool = False
    name: str = "network"
    advance: Callable[[int], None] = lambda tiles: None

    @property
    def scale(self) -> int:
        return self.config.scales[self.task]

    def with_task(self, task: str) -> "Network":
        """The same network with another of its heads.

        Raises:
            EvaluateError: when it has none for this task.
        """
        if task not in self.config.tasks:
            raise EvaluateError(f"{self.name} has no task {task!r}; it has {nearest(task, self.config.tasks)}")
        return dataclasses.replace(self, task=self.config.tasks.index(task))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return restore_by_tiles(
            image,
            self._patches,
            scale=self.scale,
            tile=self.tile,
            overlap=self.overlap,
            batch=self.batch,
            advance=self.advance,
        )

    def _patches(self, patches: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(patches).permute(0, 3, 1, 2).to(self.device)
        try:
            with torch.inference_mode():
                y = self._ensemble(x) if self.self_ensemble else self.model(x, self.task)[0]
        except torch.OutOfMemoryError as error:
            raise EvaluateFailed(
                f"the memory of the GPU is full with {len(patches)} tiles at once; lower --batch-size"
            ) from error
        return y.permute(0, 2, 3, 1).cpu().numpy()

    def _ensemble(self, x: torch.Tensor) -> torch.Tensor:
        """The mean of what the eight symmetries of a square give, each turned back."""
        results = []
        for turns in range(4):
            for flipped in (False, True):
                seen = x.flip(-1) if flipped else x
                restored = torch.rot90(self.model(torch.rot90(seen, turns, (-2, -1)), self.task)[0], -turns, (-2, -1))
                results.append(restored.flip(-1) if flipped else restored)
        return torch.stack(results).mean(0)


def load_network(
    path: str,
    task: str | None = None,
    *,
    device: str = "auto",
    overlap: int = OVERLAP,
    batch: int | None = None,
    self_ensemble: bool = False,
) -> Network:
    """The network of a checkpoint with the head of a task, its first by default; `with_task` gives it another one.

    Args:
        device: "cpu", "cuda", or "auto", a GPU where there is one.
        batch: tiles at once, by default 64 of 48x48 on a GPU and 8 elsewhere, fewer of larger ones.

    Raises:
        ModelError: when the checkpoint cannot be read.
        EvaluateError: when it has no such task, there is no such device, or the overlap does not fit.
    """
    checkpoint = load_checkpoint(path)
    chosen = _device(device)
    tile = getattr(checkpoint.config, "patch_size", _LARGE_TILE)
    if not 0 <= overlap < tile:
        raise EvaluateError(f"overlap: found {overlap}, expected 0 to {tile - 1}, below the tile of {tile}")
    network = Network(
        model=checkpoint.model().to(chosen).eval(),
        config=checkpoint.config,
        task=0,
        tile=tile,
        overlap=overlap,
        batch=batch or max(1, (64 if chosen.type == "cuda" else 8) * 48**2 // tile**2),
        device=chosen,
        self_ensemble=self_ensemble,
        name=path,
    )
    return network if task is None else network.with_task(task)


def _device(wanted: str) -> torch.device:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise EvaluateError("device: found cuda, but no GPU can be seen; leave it out to run on the CPU")
    return torch.device("cpu" if wanted == "cpu" or not torch.cuda.is_available() else "cuda")
