"""The position of every byte of a shard. The only module that knows offsets; docs/shard-format.md specifies them.

A sample is three tar members (clean.npy, corrupted.npy, json), each a 512-byte ustar header and its content padded to
512 bytes. All samples of a shard have the same shapes and the same json size, so a sample has a constant length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from iptdata.errors import shown
from iptdata.files.tar_members import BLOCK, round_up

RECORD = 10_240
NAME_BYTES = 100
SUFFIXES = (b".clean.npy", b".corrupted.npy", b".json")
MAX_KEY_BYTES = NAME_BYTES - max(map(len, SUFFIXES))
NPY_HEADER = 128
MAX_BYTES = 1 << 45
_CHECKSUM = slice(148, 154)
_MAX_SIDE = 8192
_MAX_JSON_BYTES = 1 << 20

Shape = tuple[int, int, int]


class Member(NamedTuple):
    """A tar member within its sample.

    Attributes:
        header: Offset of the header in the sample.
        content: Offset of the content in the sample.
        size: Bytes of the content.
    """

    header: int
    content: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The layout of one shard.

    Attributes:
        clean: Shape (height, width, 3) of the clean uint8 array.
        corrupted: Shape (height, width, 3) of the corrupted uint8 array.
        json_size: Bytes of the json member, a multiple of 512.
    """

    clean: Shape
    corrupted: Shape
    json_size: int

    @cached_property
    def clean_bytes(self) -> int:
        """Bytes of the pixels of a clean patch."""
        return _pixel_bytes(self.clean)

    @cached_property
    def corrupted_bytes(self) -> int:
        """Bytes of the pixels of a corrupted patch."""
        return _pixel_bytes(self.corrupted)

    @cached_property
    def members(self) -> tuple[Member, Member, Member]:
        """The members clean.npy, corrupted.npy and json of a sample."""
        sizes = (NPY_HEADER + self.clean_bytes, NPY_HEADER + self.corrupted_bytes, self.json_size)
        members, offset = [], 0
        for size in sizes:
            members.append(Member(offset, offset + BLOCK, size))
            offset += BLOCK + round_up(size, BLOCK)
        return members[0], members[1], members[2]

    @cached_property
    def stride(self) -> int:
        """Bytes from one sample to the next."""
        last = self.members[2]
        return last.content + round_up(last.size, BLOCK)

    def shard_bytes(self, pairs: int) -> int:
        """Bytes of a tar with this many samples: two zero blocks end it, and zeros pad it to a multiple of 10,240 bytes."""
        return round_up(pairs * self.stride + 2 * BLOCK, RECORD)

    def trailer(self, pairs: int) -> bytes:
        """The zero bytes after the last sample."""
        return bytes(self.shard_bytes(pairs) - pairs * self.stride)

    def clean_view(self, buffer: np.ndarray) -> np.ndarray:
        """The clean patches in a buffer of whole samples (uint8, one axis): uint8 (N, H, W, 3), no copy."""
        return self._pixel_view(buffer, self.members[0], self.clean)

    def corrupted_view(self, buffer: np.ndarray) -> np.ndarray:
        """The corrupted patches in a buffer of whole samples (uint8, one axis): uint8 (N, h, w, 3), no copy."""
        return self._pixel_view(buffer, self.members[1], self.corrupted)

    def json_view(self, buffer: np.ndarray) -> np.ndarray:
        """The json members in a buffer of whole samples (uint8, one axis): uint8 (N, json_size), no copy."""
        return self._view(buffer, self.members[2].content, (self.json_size,))

    def blank(self, pairs: int) -> np.ndarray:
        """A buffer of samples, uint8 (pairs * stride,), filled with everything that is the same in all of them."""
        sample = np.zeros(self.stride, np.uint8)
        shapes = (self.clean, self.corrupted, None)
        for member, shape in zip(self.members, shapes, strict=True):
            sample[member.header : member.header + BLOCK] = np.frombuffer(_header_template(member.size), np.uint8)
            if shape is not None:
                sample[member.content : member.content + NPY_HEADER] = np.frombuffer(_npy_header(shape), np.uint8)
        return np.tile(sample, pairs)

    def write_names(self, buffer: np.ndarray, keys: Sequence[str]) -> None:
        """Write names and checksums into the headers of a buffer made by `blank`, one ASCII key per sample."""
        for member, suffix in zip(self.members, SUFFIXES, strict=True):
            names = np.array([key.encode("ascii") + suffix for key in keys], f"S{NAME_BYTES}")
            headers = self._view(buffer, member.header, (BLOCK,))
            headers[:, :NAME_BYTES] = names.view(np.uint8).reshape(len(keys), NAME_BYTES)
            template = np.frombuffer(_header_template(member.size), np.uint8)
            total = int(template.sum(dtype=np.int64)) + ord(" ") + headers[:, :NAME_BYTES].sum(axis=1, dtype=np.int64)
            headers[:, _CHECKSUM] = (total[:, None] >> np.arange(15, -1, -3) & 7) + ord("0")

    def write_json(self, buffer: np.ndarray, texts: Sequence[bytes]) -> None:
        """Write the json texts into a buffer, padded with spaces; each has at most `json_size` bytes."""
        padded = b"".join(text.ljust(self.json_size) for text in texts)
        self.json_view(buffer)[...] = np.frombuffer(padded, np.uint8).reshape(len(texts), self.json_size)

    def _pixel_view(self, buffer: np.ndarray, member: Member, shape: Shape) -> np.ndarray:
        return self._view(buffer, member.content + NPY_HEADER, shape)

    def _view(self, buffer: np.ndarray, offset: int, shape: tuple[int, ...]) -> np.ndarray:
        count = len(buffer) // self.stride
        inner = np.zeros(shape, np.uint8).strides
        if count == 0:
            return np.empty((0, *shape), np.uint8)
        return np.ndarray((count, *shape), np.uint8, buffer.data, offset, (self.stride, *inner))


def checked_layout(clean: Sequence[int], corrupted: Sequence[int], json_size: int) -> Layout:
    """The layout that a file describes.

    Args:
        clean: Shape of a clean patch.
        corrupted: Shape of a corrupted patch.
        json_size: Bytes of the json member.

    Raises:
        ValueError: When no shard can have it; the message names the field.
    """
    for name, shape in (("clean", clean), ("corrupted", corrupted)):
        if [type(side) for side in shape] != [int] * 3 or shape[2] != 3 or not all(1 <= side <= _MAX_SIDE for side in shape):
            raise ValueError(f"{name}: found {shown(list(shape))}, expected [height, width, 3] of at most {_MAX_SIDE:,} pixels")
    if type(json_size) is not int or json_size % BLOCK or not BLOCK <= json_size <= _MAX_JSON_BYTES:
        raise ValueError(
            f"json_size: found {shown(json_size)}, expected a multiple of {BLOCK} from {BLOCK} to {_MAX_JSON_BYTES:,}"
        )
    return Layout(clean=(clean[0], clean[1], 3), corrupted=(corrupted[0], corrupted[1], 3), json_size=json_size)


def _pixel_bytes(shape: Shape) -> int:
    return shape[0] * shape[1] * shape[2]


def _npy_header(shape: Shape) -> bytes:
    """A header of npy format 1.0, padded to 128 bytes, as `numpy.save` writes it."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + (NPY_HEADER - 10).to_bytes(2, "little") + text.ljust(NPY_HEADER - 11).encode() + b"\n"


def _header_template(size: int) -> bytes:
    """A ustar header (POSIX.1-1988) without name and checksum: mode 0644, uid, gid and mtime 0, a regular file.

    Six spaces are placeholders for the digits of the checksum; its sum counts the last two bytes of the field as spaces too.
    """
    fields = [
        bytes(NAME_BYTES),
        b"0000644\0",
        b"0000000\0",
        b"0000000\0",
        b"%011o\0" % size,
        b"00000000000\0",
        b"      \0 ",
        b"0",
        bytes(100),
        b"ustar\x0000",
    ]
    return b"".join(fields).ljust(BLOCK, b"\0")
