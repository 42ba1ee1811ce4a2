"""Tars of samples without a manifest: not written by iptdata, or left by an unfinished build."""

import io
import math
import tarfile
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any, NamedTuple, TypeVar

import numpy as np
import numpy.lib.format as npy_format

from iptdata.errors import ShardError, one_line
from iptdata.files.storage import Storage
from iptdata.image.decode import Unusable, decode
from iptdata.units import format_bytes, pluralize

CLEAN_NAMES = ("clean", "target", "gt", "hq", "hr", "norain")
CORRUPTED_NAMES = ("corrupted", "input", "lq", "lr", "noisy", "rain")
_REMOTE_BYTES = 16_000_000

T = TypeVar("T")


class Sample(NamedTuple):
    """A sample of a tar.

    Attributes:
        key: Name of its members up to the first dot.
        members: Offset and bytes of each member, by the part of its name after the first dot.
    """

    key: str
    members: dict[str, tuple[int, int]]


class TarContents(NamedTuple):
    """The samples that could be listed in a tar.

    Attributes:
        samples: The samples, in order.
        problem: Why samples may be missing, "" for a valid tar.
        complete: False if only the start of a remote tar was read.
    """

    samples: list[Sample]
    problem: str
    complete: bool


@dataclass(frozen=True)
class Tar:
    """A tar in the WebDataset layout: consecutive members with the same name up to its first dot make a sample.

    Attributes:
        storage: The folder of the tar.
        name: File name.
    """

    storage: Storage
    name: str

    @property
    def path(self) -> str:
        """Full path or URL."""
        return self.storage.path(self.name)

    @cached_property
    def contents(self) -> TarContents:
        """The samples: all of a local tar, those in the first 16 MB of a remote one.

        Raises:
            StorageError: When it cannot be read.
        """
        length = self.storage.size(self.name) or 0
        if self.storage.is_local:
            with self.storage.open(self.name) as file:
                return TarContents(*_list(file, length), complete=True)
        samples, problem = _list(io.BytesIO(self.storage.read(self.name, 0, _REMOTE_BYTES)), length)
        if length <= _REMOTE_BYTES:
            return TarContents(samples, problem, complete=True)
        problem = "" if len(samples) > 1 else f"starts with a sample of more than {format_bytes(_REMOTE_BYTES)}"
        return TarContents(samples[:-1], problem, complete=False)  # the last one may be cut off

    def read(self, sample: Sample, extension: str) -> bytes:
        """Read the bytes of a member."""
        return self.storage.read(self.name, *sample.members[extension])

    def pair(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        """Read the clean and the corrupted image of a sample: uint8 (H, W, 3).

        Raises:
            ShardError: When one is missing or cannot be decoded.
        """
        clean, corrupted = find_pair({extension: extension for extension in sample.members})
        if clean is None or corrupted is None:
            raise ShardError(f"{self.path}: {sample.key} {missing_pair(sample.members)}")
        return self._image(sample, clean), self._image(sample, corrupted)

    def _image(self, sample: Sample, extension: str) -> np.ndarray:
        data = self.read(sample, extension)
        try:
            return _npy(data) if extension.endswith("npy") else decode(data).pixels
        except (Unusable, ValueError) as error:
            raise ShardError(f"{self.path}: {sample.key}.{extension} cannot be used: {one_line(error, 200)}") from error


def find_pair(members: Mapping[str, T]) -> tuple[T | None, T | None]:
    """Find the clean and the corrupted member of a sample by the start of their extensions; None if there is none."""
    named = {extension.split(".")[0].lower(): value for extension, value in members.items()}
    clean = next((named[name] for name in CLEAN_NAMES if name in named), None)
    return clean, next((named[name] for name in CORRUPTED_NAMES if name in named), None)


def missing_pair(members: Iterable[str]) -> str:
    """Error text for a sample with these members but no pair."""
    return f"has {', '.join(members)}; expected one of {', '.join(CLEAN_NAMES)} and one of {', '.join(CORRUPTED_NAMES)}"


def _npy(data: bytes) -> np.ndarray:
    """Read the image in an npy file: uint8 (H, W, 3).

    Raises:
        ValueError: When it holds anything else.
    """
    file = io.BytesIO(data)
    readers = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
    try:
        shape, fortran_order, dtype = readers[npy_format.read_magic(file)](file)
    except (KeyError, SyntaxError, TypeError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise ValueError(f"not an npy file: {one_line(error)}") from error
    pixels = data[file.tell() :]
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or fortran_order or math.prod(shape) == 0:
        raise ValueError(f"found {dtype} {shape}, expected uint8 (H, W, 3)")
    if len(pixels) != math.prod(shape):
        raise ValueError(f"found {len(pixels):,} bytes for {dtype} {shape}, expected {math.prod(shape):,}")
    return np.frombuffer(pixels, np.uint8).reshape(shape)


def _list(file: IO[bytes] | Any, length: int) -> tuple[list[Sample], str]:
    """List the samples of a tar of `length` bytes, and the problem that makes the list incomplete or unreliable, or ""."""
    samples: list[Sample] = []
    try:
        problem = _list_into(samples, file, length)
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError, MemoryError, OSError) as error:
        problem = one_line(error)
    return samples, problem and f"is not a valid tar after its first {pluralize(len(samples), 'sample')}: {problem}"


def _list_into(samples: list[Sample], file: IO[bytes] | Any, length: int) -> str:
    """Append the samples of a tar to `samples`, and return the problem that ended the list, or ""."""
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            if not 0 <= member.size <= length - member.offset_data:
                return f"a member of {member.size:,} bytes does not fit"
            if not member.isfile():
                continue
            folder, slash, name = _printable(member.name).rpartition("/")
            stem, _, extension = name.partition(".")
            key = folder + slash + stem
            if not samples or samples[-1].key != key:
                samples.append(Sample(key, {}))
            samples[-1].members[extension] = (member.offset_data, member.size)
        file.seek(tar.offset)
        end = file.read(tarfile.BLOCKSIZE)
    return "" if end == bytes(tarfile.BLOCKSIZE) else "the end-of-archive blocks are missing"


def _printable(name: str) -> str:
    """Make a name encodable: bytes that are not UTF-8 are written as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()
