"""Batches on the device: gathered and copied in the background, turned into floats and flipped in one step there."""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

import torch

from iptdata.errors import StreamError
from iptdata.stream.batch import Batch
from iptdata.stream.stream import PairStream

Augment = Literal["all", "flips", "none"]

_AHEAD = 3
_END = object()


class DeviceBatch(NamedTuple):
    """A batch on a device, ready for a model.

    Attributes:
        task: name of the recipe.
        corrupted: float (N, 3, h, w) in channels_last memory.
        clean: float (N, 3, H, W), flipped and rotated as `corrupted` is.
        source: the batch it was made of: uint8 pixels on the device; `pairs` and `orientation` in main memory.
    """

    task: str
    corrupted: torch.Tensor
    clean: torch.Tensor
    source: Batch


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What happens to pixels on the device: (value - mean) / std, then a cast.

    Attributes:
        mean, std: by channel, on the scale 0..255; std 255 gives 0..1.
        augment: "all" flips and rotates each pair as its `orientation` says, "flips" only flips it, "none" does nothing.
    """

    dtype: torch.dtype = torch.float32
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    augment: Augment = "all"

    def __post_init__(self) -> None:
        if not self.dtype.is_floating_point:
            raise StreamError(f"dtype is {self.dtype}; expected a floating-point type")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3:
                raise StreamError(f"{name} is {values}; expected three numbers, one a channel")
            object.__setattr__(self, name, tuple(map(float, values)))
        if self.augment not in get_args(Augment):
            raise StreamError(f"augment is {self.augment!r}; expected one of {', '.join(get_args(Augment))}")
        if min(self.std) <= 0:
            raise StreamError(f"std is {self.std}; expected numbers above 0")

    def __call__(
        self, pixels: torch.Tensor, orientation: torch.Tensor, kernel: Callable[..., torch.Tensor] | None = None
    ) -> torch.Tensor:
        """uint8 (N, 3, H, W) in channels_last memory to `dtype`, the same shape and memory.

        Args:
            orientation: uint8 (N,), see `orient`.
            kernel: `prepared`, or that compiled.
        """
        device = pixels.device
        places = None if self.augment == "none" else _places(*pixels.shape[2:], device)
        if self.augment == "flips":
            orientation = orientation & 3
        return (kernel or prepared)(pixels, orientation, places, *_factors(self.mean, self.std, device), self.dtype)


def prepared(
    pixels: torch.Tensor,
    orientation: torch.Tensor,
    places: torch.Tensor | None,
    scale: torch.Tensor,
    shift: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor:
    """The arithmetic of `Preparation`, with nothing in it that keeps a compiler from fusing it."""
    if places is not None:
        pixels = _turned(pixels, orientation, places)
    return torch.addcmul(shift, pixels.float(), scale).to(dtype)


def orient(pixels: torch.Tensor, orientation: torch.Tensor) -> torch.Tensor:
    """Flip and rotate each image of a batch.

    Args:
        pixels: (N, C, H, W), any type, in channels_last memory.
        orientation: uint8 (N,), 0..7. Bit 0 mirrors left and right, bit 1 top and bottom, bit 2 then swaps rows and columns;
            together these are the eight symmetries of a square. Where H and W differ, bit 2 does nothing.

    Returns:
        the same shape, in channels_last memory.
    """
    return _turned(pixels, orientation, _places(*pixels.shape[2:], pixels.device))


def _turned(pixels: torch.Tensor, orientation: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    count, channels, height, width = pixels.shape
    starts = torch.arange(count, device=pixels.device, dtype=torch.int32) * (height * width)
    rows = (places[orientation.long()] + starts[:, None]).view(-1)
    turned = pixels.permute(0, 2, 3, 1).reshape(-1, channels).index_select(0, rows)
    return turned.view(count, height, width, channels).permute(0, 3, 1, 2)


@lru_cache(maxsize=32)
def _places(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Where each pixel of each of the eight orientations comes from: int32 (8, H * W)."""
    grid = torch.arange(height * width, dtype=torch.int32).view(height, width)
    found = []
    for bits in range(8):
        turned = grid.flip([dim for dim, bit in ((1, 1), (0, 2)) if bits & bit])
        found.append((turned.T if bits & 4 and height == width else turned).reshape(-1))
    return torch.stack(found).to(device)


@lru_cache(maxsize=8)
def _factors(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """1 / std and -mean / std: float32 (1, 3, 1, 1)."""
    scale = torch.tensor([1 / value for value in std], device=device).view(1, 3, 1, 1)
    return scale, -torch.tensor(mean, device=device).view(1, 3, 1, 1) * scale


class DeviceStream:
    """A stream whose batches arrive on a device as floats.

        for batch in DeviceStream(stream, "cuda"):
            loss = (model(batch.corrupted, batch.task) - batch.clean).abs().mean()

    A background thread gathers batches, into pinned memory for a GPU, and copies them there without being waited for.

    Args:
        stream: where batches come from.
        prepare: what happens to the pixels on the device; on a GPU its operations are compiled into one kernel.
        compiled: by default only on a GPU.
    """

    def __init__(
        self,
        stream: PairStream,
        device: str | torch.device,
        prepare: Preparation | None = None,
        *,
        compiled: bool | None = None,
    ) -> None:
        self.stream = stream
        self.device = torch.device(device)
        self._cuda = self.device.type == "cuda"
        if self._cuda and self.device.index is None:
            self.device = torch.device("cuda", torch.cuda.current_device())
        self._prepare = prepare or Preparation()
        self._kernel = torch.compile(prepared) if (self._cuda if compiled is None else compiled) else prepared
        self._last: Batch | None = None
        self._feeder: _Feeder | None = None
        self._start = stream.state_dict()

    def __len__(self) -> int:
        return len(self.stream)

    def __iter__(self) -> Iterator[DeviceBatch]:
        """The batches from where the stream stands to the end of the epoch; ends a loop begun before.

        Raises:
            ShardError, StorageError: when a shard cannot be read.
        """
        self._halt()
        self._start = self.stream.state_dict()
        feeder = self._feeder = _Feeder(self._arrivals)
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
                self._halt()

    def state_dict(self) -> dict[str, Any]:
        """The state of the stream behind the last batch that was taken from here, not the last one gathered."""
        if self._feeder is None:
            return self.stream.state_dict()
        return self.stream.state_dict(after=self._last) if self._last is not None else self._start

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where a state was taken; ends a loop that is under way."""
        self._halt()
        self.stream.load_state_dict(state)

    def _halt(self) -> None:
        """End the background thread, and let the stream stand behind the last batch that was taken."""
        if self._feeder is not None:
            self._feeder.halt()
            self.stream.load_state_dict(self.state_dict())
            self._feeder, self._last = None, None

    def _arrivals(self) -> Iterator[tuple[Batch, torch.Tensor, Any]]:
        """Batches on the device, their orientation, and the event that says when they are there; runs in the background."""
        if self._cuda:
            torch.cuda.set_device(self.device)  # each thread has a current device of its own
        send = self._sender()
        for batch in self.stream.batches(self._pinned() if self._cuda else None):
            yield send(batch)

    def _sender(self) -> Callable[[Batch], tuple[Batch, torch.Tensor, Any]]:
        if not self._cuda:
            return lambda batch: (_moved(batch, self.device), batch.orientation.to(self.device), None)
        side = torch.cuda.Stream(self.device)

        def send(batch: Batch) -> tuple[Batch, torch.Tensor, Any]:
            with torch.cuda.stream(side):
                moved = _moved(batch, self.device)
                orientation = batch.orientation.pin_memory().to(self.device, non_blocking=True)
                return moved, orientation, side.record_event()

        return send

    @staticmethod
    def _pinned() -> Callable[[int, int], torch.Tensor]:
        """Pinned memory from PyTorch's caching allocator, which gives a block out again only after copies from it are done."""
        return lambda rows, size: torch.empty((rows, size), dtype=torch.uint8, pin_memory=True)


def _moved(batch: Batch, device: torch.device) -> Batch:
    corrupted, clean = (side.to(device, non_blocking=True) for side in (batch.corrupted, batch.clean))
    return batch._replace(corrupted=corrupted, clean=clean)


class _Feeder:
    """Runs an iterator in a background thread, a few items ahead; what goes wrong there is raised here."""

    def __init__(self, items: Callable[[], Iterator[Any]]) -> None:
        self._ready: queue.Queue[Any] = queue.Queue(maxsize=_AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(items,), daemon=True, name="iptdata-device")
        self._thread.start()

    def __iter__(self) -> Iterator[Any]:
        while not self._stop.is_set():
            item = self._ready.get()
            if item is _END:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def halt(self) -> None:
        """End the thread, at the latest when it has its next item."""
        self._stop.set()
        while self._thread.is_alive():
            while not self._ready.empty():
                self._ready.get_nowait()
            self._thread.join(timeout=0.01)

    def _fill(self, items: Callable[[], Iterator[Any]]) -> None:
        try:
            for item in items():
                self._ready.put(item)
                if self._stop.is_set():
                    return
            self._ready.put(_END)
        except BaseException as error:  # noqa: BLE001
            self._ready.put(error)
