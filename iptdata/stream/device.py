"""Batches on the device: gathered and copied in the background, converted to floats and augmented there in one step."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from iptdata.errors import StreamError
from iptdata.options import option, validate
from iptdata.stream.augment import Augment, reorient, source_indices
from iptdata.stream.background import BackgroundIterator
from iptdata.stream.batch import Batch
from iptdata.stream.stream import PairStream

_BUFFERED_BATCHES = 3


class DeviceBatch(NamedTuple):
    """A batch on a device, ready for a model.

    Attributes:
        task: Name of the recipe.
        corrupted: Float (N, 3, h, w) in channels_last memory.
        clean: Float (N, 3, H, W) in channels_last memory, flipped and rotated as `corrupted` is.
        source: The batch it was made from: uint8 pixels on the device; `pairs` and `orientation` in main memory.
    """

    task: str
    corrupted: torch.Tensor
    clean: torch.Tensor
    source: Batch


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How pixels are converted on the device: (value - mean) / std, then a cast.

    Attributes:
        dtype: Floating-point type of the result.
        mean: Mean of each channel, on the scale 0..255.
        std: Standard deviation of each channel, above 0, on the scale 0..255; 255 maps to 0..1.
        augment: "all" flips and rotates each pair by its `orientation`, "flips" only flips it, "none" does neither.

    Raises:
        StreamError: When a value has the wrong type or is out of range.
    """

    dtype: torch.dtype = torch.float32
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    augment: Augment = option(
        "all",
        choices={"all": "flip and rotate", "flips": "only flip", "none": "neither"},
        help="How each pair is flipped and rotated.",
    )

    def __post_init__(self) -> None:
        validate(self, StreamError)
        if not self.dtype.is_floating_point:
            raise StreamError(f"found {self.dtype}, expected a floating-point type", argument="dtype")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3:
                raise StreamError(f"found {values}, expected three numbers, one per channel", argument=name)
            object.__setattr__(self, name, tuple(map(float, values)))
        if min(self.std) <= 0:
            raise StreamError(f"found {self.std}, expected numbers above 0", argument="std")

    def __call__(
        self, pixels: torch.Tensor, orientation: torch.Tensor, kernel: Callable[..., torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Convert pixels.

        Args:
            pixels: uint8 (N, 3, H, W) in channels_last memory.
            orientation: uint8 (N,), see `orient`.
            kernel: `prepare_pixels`, or a compiled version of it.

        Returns:
            Tensor of `dtype`, of the same shape and memory format.
        """
        device = pixels.device
        sources = None if self.augment == "none" else source_indices(*pixels.shape[2:], device)
        if self.augment == "flips":
            orientation = orientation & 3
        return (kernel or prepare_pixels)(pixels, orientation, sources, *_factors(self.mean, self.std, device), self.dtype)


def prepare_pixels(
    pixels: torch.Tensor,
    orientation: torch.Tensor,
    sources: torch.Tensor | None,
    scale: torch.Tensor,
    shift: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor:
    """The arithmetic of `Preparation`, with nothing in it that keeps a compiler from fusing it.

    Args:
        pixels: uint8 (N, 3, H, W) in channels_last memory.
        orientation: uint8 (N,), see `orient`.
        sources: int32 (8, H * W), index of the pixel that each pixel of each orientation comes from; None to keep all in place.
        scale: float32 (1, 3, 1, 1), multiplied with the pixels.
        shift: float32 (1, 3, 1, 1), added after that.
        dtype: Type of the result.

    Returns:
        Tensor of `dtype`, (N, 3, H, W) in channels_last memory.
    """
    if sources is not None:
        pixels = reorient(pixels, orientation, sources)
    return torch.addcmul(shift, pixels.float(), scale).to(dtype)


@lru_cache(maxsize=8)
def _factors(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """1 / std and -mean / std: float32 (1, 3, 1, 1)."""
    scale = torch.tensor([1 / value for value in std], device=device).view(1, 3, 1, 1)
    return scale, -torch.tensor(mean, device=device).view(1, 3, 1, 1) * scale


class DeviceStream:
    """A stream whose batches arrive on a device as floats.

        for batch in DeviceStream(stream, "cuda"):
            loss = (model(batch.corrupted, batch.task) - batch.clean).abs().mean()

    A background thread gathers batches, into pinned memory for a GPU, and copies them there asynchronously.

    Args:
        stream: Stream that the batches come from.
        device: Device to move them to.
        prepare: How the pixels are converted on the device; on a GPU its operations are compiled into one kernel.
        compiled: Whether to compile it; by default only on a GPU.
    """

    def __init__(
        self,
        stream: PairStream,
        device: str | torch.device,
        prepare: Preparation | None = None,
        *,
        compiled: bool | None = None,
    ) -> None:
        if not isinstance(stream, PairStream):
            raise StreamError(f"found {type(stream).__name__}, expected a PairStream", argument="stream")
        self.stream = stream
        self.device: torch.device = torch.device(device)
        self._cuda = self.device.type == "cuda"
        if self._cuda and self.device.index is None:
            self.device = torch.device("cuda", torch.cuda.current_device())
        self._prepare = prepare or Preparation()
        self._kernel = torch.compile(prepare_pixels) if (self._cuda if compiled is None else compiled) else prepare_pixels
        self._last: Batch | None = None
        self._feeder: BackgroundIterator | None = None
        self._start = stream.state_dict()

    def __len__(self) -> int:
        return len(self.stream)

    def __iter__(self) -> Iterator[DeviceBatch]:
        """Yield the batches from the current step to the end of the epoch; stops an earlier loop over this stream.

        Raises:
            ShardError: When a shard is damaged.
            StorageError: When a shard cannot be read.
        """
        self._stop()
        self._start = self.stream.state_dict()
        feeder = self._feeder = BackgroundIterator(self._device_batches, _BUFFERED_BATCHES)
        try:
            for batch, orientation, ready in feeder:
                if ready is not None:
                    torch.cuda.current_stream(self.device).wait_event(ready)
                    for tensor in (batch.corrupted, batch.clean, orientation):
                        tensor.record_stream(torch.cuda.current_stream(self.device))
                self._last = batch
                corrupted, clean = (self._prepare(side, orientation, self._kernel) for side in (batch.corrupted, batch.clean))
                yield DeviceBatch(batch.task, corrupted, clean, batch)
        finally:
            if self._feeder is feeder:
                self._stop()

    def state_dict(self) -> dict[str, Any]:
        """The state of the stream after the last batch that was yielded here, not the last one gathered."""
        if self._feeder is None:
            return self.stream.state_dict()
        return self.stream.state_dict(after=self._last) if self._last is not None else self._start

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; stops a running loop.

        Raises:
            StreamError: When the state is of a stream with other pairs or options.
        """
        self._stop()
        self.stream.load_state_dict(state)

    def _stop(self) -> None:
        """Stop the background thread, and rewind the stream to the last batch that was yielded."""
        if self._feeder is not None:
            self._feeder.stop()
            self.stream.load_state_dict(self.state_dict())
            self._feeder, self._last = None, None

    def _device_batches(self) -> Iterator[tuple[Batch, torch.Tensor, Any]]:
        """Batches on the device, their orientation, and the event that marks their arrival; runs in the background."""
        if self._cuda:
            torch.cuda.set_device(self.device)  # the current device is per thread
        copy = self._copier()
        for batch in self.stream.batches(_allocate_pinned if self._cuda else None):
            yield copy(batch)

    def _copier(self) -> Callable[[Batch], tuple[Batch, torch.Tensor, Any]]:
        if not self._cuda:
            return lambda batch: (_to_device(batch, self.device), batch.orientation.to(self.device), None)
        side_stream = torch.cuda.Stream(self.device)

        def copy(batch: Batch) -> tuple[Batch, torch.Tensor, Any]:
            with torch.cuda.stream(side_stream):
                on_device = _to_device(batch, self.device)
                orientation = batch.orientation.pin_memory().to(self.device, non_blocking=True)
                return on_device, orientation, side_stream.record_event()

        return copy


def _allocate_pinned(rows: int, size: int) -> torch.Tensor:
    """Pinned memory from PyTorch's caching allocator, which reuses a block only after copies from it are done."""
    return torch.empty((rows, size), dtype=torch.uint8, pin_memory=True)


def _to_device(batch: Batch, device: torch.device) -> Batch:
    corrupted, clean = (side.to(device, non_blocking=True) for side in (batch.corrupted, batch.clean))
    return batch._replace(corrupted=corrupted, clean=clean)
