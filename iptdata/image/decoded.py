"""What decoding gives: pixels, or a reason why there are none."""

from dataclasses import dataclass

import numpy as np

_DETAIL_CHARACTERS = 200
_TRUNCATION_MARKERS = ("premature end", "truncated", "not enough", "too small", "incomplete")


class Unusable(Exception):
    """An image that cannot be decoded.

    Attributes:
        reason: "unreadable", "truncated", "damaged" or "too many pixels".
        detail: What was found and, where something else was expected, what; one line.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail: str = " ".join(detail.split())[:_DETAIL_CHARACTERS]

    def __reduce__(self) -> tuple[type["Unusable"], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


@dataclass(frozen=True)
class Decoded:
    """A decoded image.

    Attributes:
        pixels: uint8 (H, W, 3) RGB.
        damage: What is wrong with a damaged file, None for an intact one.
        bits: Bits per channel in the file: 16, or 8 for 8 and fewer.
        alpha: uint8 (H, W), 0 is transparent; None without transparency, or when it was not asked for.
        grey: Whether the file has one colour channel.
    """

    pixels: np.ndarray
    damage: str | None = None
    bits: int = 8
    alpha: np.ndarray | None = None
    grey: bool = False


@dataclass(frozen=True, kw_only=True)
class Request:
    """How to decode; the arguments of `iptdata.image.decode.decode`.

    Attributes:
        max_pixels: Maximum number of pixels.
        keep_damaged: Return what can be recovered from a damaged file.
        with_alpha: Return the alpha channel.
    """

    max_pixels: int
    keep_damaged: bool
    with_alpha: bool

    def check_size(self, height: int, width: int, bytes_per_pixel: int = 3) -> None:
        """Check the size of an image before it is decoded.

        Args:
            height: Rows.
            width: Columns.
            bytes_per_pixel: What the decoder holds for a pixel before it is converted to RGB; above 6, fewer pixels are allowed.

        Raises:
            Unusable: When it is empty or has too many pixels.
        """
        if height < 1 or width < 1:
            raise Unusable("unreadable", f"found {width}x{height} pixels, expected at least one")
        limit = self.max_pixels * 6 // max(6, bytes_per_pixel)
        if height * width > limit:
            depth = f" at {bytes_per_pixel} bytes each" if limit < self.max_pixels else ""
            raise Unusable("too many pixels", f"{width}x{height}{depth}, more than {limit:,}")

    def check_damage(self, damage: str | None) -> None:
        """Refuse a damaged image, unless it is to be kept.

        Raises:
            Unusable: With the reason "truncated" or "damaged".
        """
        if damage and not self.keep_damaged:
            truncated = any(marker in damage.lower() for marker in _TRUNCATION_MARKERS)
            raise Unusable("truncated" if truncated else "damaged", damage)
