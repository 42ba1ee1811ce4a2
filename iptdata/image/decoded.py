"""What decoding gives: pixels, or a reason why there are none."""

from dataclasses import dataclass

import numpy as np

_DETAIL_CHARACTERS = 200
_TRUNCATION_MARKERS = ("premature end", "not enough", "missing", "ends", "are left")
_HELD_BYTES = 9  # per pixel of `max_pixels`


class Unusable(Exception):
    """An image that cannot be decoded.

    Attributes:
        reason: "unreadable", "truncated", "damaged", "too many pixels" or "too many bytes".
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

    def check_size(self, height: int, width: int, held: int = 0) -> None:
        """Check the size of an image before it is decoded.

        Args:
            height: Rows.
            width: Columns.
            held: Bytes that are held while it is decoded, result included. At most 9 for each of `max_pixels` are allowed:
                enough for all but deep images with alpha and the like, which must be smaller.

        Raises:
            Unusable: When it is empty or has too many pixels.
        """
        if height < 1 or width < 1:
            raise Unusable("unreadable", f"found {width}x{height} pixels, expected at least one")
        if height * width > self.max_pixels:
            raise Unusable("too many pixels", f"{width}x{height}, more than {self.max_pixels:,}")
        if held > self.max_pixels * _HELD_BYTES:
            most = f"{self.max_pixels:,} pixels of {_HELD_BYTES} bytes"
            raise Unusable("too many pixels", f"{width}x{height} takes {held:,} bytes to decode, more than {most}")

    def check_damage(self, damage: str | None) -> None:
        """Refuse a damaged image, unless it is to be kept.

        Raises:
            Unusable: With the reason "truncated" or "damaged".
        """
        if damage and not self.keep_damaged:
            truncated = any(marker in damage.lower() for marker in _TRUNCATION_MARKERS)
            raise Unusable("truncated" if truncated else "damaged", damage)
