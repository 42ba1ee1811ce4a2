"""Where and how a network restores."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Where and how a network restores images: what its results, besides its weights, depend on.

    Attributes:
        device: Name of the GPU, or "CPU".
        precision: Numbers that it computes with: "fp32", "bf16" or "fp16".
        tile_size: Side of a tile in pixels.
        overlap: Minimum number of pixels that neighbouring tiles share.
        self_ensemble: Whether results are the mean over eight flips and rotations.
        compiled: Whether the network is compiled.
    """

    device: str
    precision: str
    tile_size: int
    overlap: int
    self_ensemble: bool
    compiled: bool

    def __str__(self) -> str:
        compiled = ", compiled" if self.compiled else ""
        tiles = f"tiles of {self.tile_size}x{self.tile_size} with overlap {self.overlap}"
        ensemble = ", self-ensemble" if self.self_ensemble else ""
        return f"{self.device}, {self.precision}{compiled}, {tiles}{ensemble}"
