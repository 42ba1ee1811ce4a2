"""Tars of samples that have no manifest: what something else made, or what a build did not finish."""

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
from iptdata.units import amount, many

CLEAN_NAMES = ("clean", "target", "gt", "hq", "hr", "norain")
CORRUPTED_NAMES = ("corrupted", "input", "lq", "lr", "noisy", "rain")
_REMOTE_BYTES = 16_000_000

_T = TypeVar("_T")


class Sample(NamedTuple):
    """A sample of a tar: offset and bytes of each member by what stands behind the first dot of its name."""

    key: str
    members: dict[str, tuple[int, int]]


class Contents(NamedTuple):
    """What could be listed of a tar.

    Attributes:
        problem: why there may be more that cannot be read, "" for a sound tar.
        whole: False where only the beginning of a remote tar was looked at.
    """

    samples: list[Sample]
    problem: str
    whole: bool


@dataclass(frozen=True)
class Tar:
    """A tar in the WebDataset layout: consecutive members with the same name up to its first dot make a sample.

    Attributes:
        storage: opened at its folder.
        name: file name.
    """

    storage: Storage
    name: str

    @property
    def path(self) -> str:
        return self.storage.path(self.name)

    @cached_property
    def contents(self) -> Contents:
        """The samples: all of a local tar, those in the first 16 MB of a remote one.

        Raises:
            StorageError: when it cannot be read.
        """
        length = self.storage.size(self.name) or 0
        if self.storage.is_local:
            with self.storage.open(self.name) as file:
                return Contents(*_list(file, length), whole=True)
        samples, problem = _list(io.BytesIO(self.storage.read(self.name, 0, _REMOTE_BYTES)), length)
        if length <= _REMOTE_BYTES:
            return Contents(samples, problem, whole=True)
        problem = "" if len(samples) > 1 else f"begins with a sample of more than {amount(_REMOTE_BYTES)}"
        return Contents(samples[:-1], problem, whole=False)  # the last one may go on behind what was read

    def read(self, sample: Sample, extension: str) -> bytes:
        """The bytes of a member."""
        return self.storage.read(self.name, *sample.members[extension])

    def pair(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        """The clean and the corrupted image of a sample: uint8 (H, W, 3).

        Raises:
            ShardError: when it lacks one, or one cannot be decoded.
        """
        clean, corrupted = find_pair({extension: extension for extension in sample.members})
        if clean is None or corrupted is None:
            raise ShardError(f"{self.path}: {sample.key} {no_pair(sample.members)}")
        return self._image(sample, clean), self._image(sample, corrupted)

    def _image(self, sample: Sample, extension: str) -> np.ndarray:
        data = self.read(sample, extension)
        try:
            return _npy(data) if extension.endswith("npy") else decode(data).pixels
        except (Unusable, ValueError) as error:
            raise ShardError(f"{self.path}: {sample.key}.{extension} cannot be used: {one_line(error, 200)}") from error


def find_pair(members: Mapping[str, _T]) -> tuple[_T | None, _T | None]:
    """The clean and the corrupted one of a sample's members, by what their extensions begin with."""
    named = {extension.split(".")[0].lower(): value for extension, value in members.items()}
    clean = next((named[name] for name in CLEAN_NAMES if name in named), None)
    return clean, next((named[name] for name in CORRUPTED_NAMES if name in named), None)


def no_pair(members: Iterable[str]) -> str:
    """What to say of a sample that has no pair."""
    return f"has {', '.join(members)}; expected one of {', '.join(CLEAN_NAMES)} and one of {', '.join(CORRUPTED_NAMES)}"


def _npy(data: bytes) -> np.ndarray:
    """The picture in an npy file: uint8 (H, W, 3).

    Raises:
        ValueError: when it holds anything else.
    """
    file = io.BytesIO(data)
    readers = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
    try:
        shape, by_columns, dtype = readers[npy_format.read_magic(file)](file)
    except (KeyError, SyntaxError, TypeError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise ValueError(f"no npy file: {one_line(error)}") from error
    pixels = data[file.tell() :]
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or by_columns or math.prod(shape) == 0:
        raise ValueError(f"{dtype} {shape}, expected uint8 (H, W, 3)")
    if len(pixels) != math.prod(shape):
        raise ValueError(f"{len(pixels):,} bytes for {dtype} {shape}")
    return np.frombuffer(pixels, np.uint8).reshape(shape)


def _list(file: IO[bytes] | Any, length: int) -> tuple[list[Sample], str]:
    """The samples of a tar of so many bytes, and what keeps from listing more, or from trusting what was listed."""
    samples: list[Sample] = []
    try:
        problem = _list_into(samples, file, length)
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError, MemoryError, OSError) as error:
        problem = one_line(error)
    return samples, problem and f"is no sound tar behind its first {many(len(samples), 'sample')}: {problem}"


def _list_into(samples: list[Sample], file: IO[bytes] | Any, length: int) -> str:
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            if not 0 <= member.size <= length - member.offset_data:
                return f"a member of {member.size:,} bytes does not fit into it"
            if not member.isfile():
                continue
            folder, slash, name = _text(member.name).rpartition("/")
            stem, _, extension = name.partition(".")
            key = folder + slash + stem
            if not samples or samples[-1].key != key:
                samples.append(Sample(key, {}))
            samples[-1].members[extension] = (member.offset_data, member.size)
        file.seek(tar.offset)
        end = file.read(tarfile.BLOCKSIZE)
    return "" if end == bytes(tarfile.BLOCKSIZE) else "the blocks that end a tar are missing"


def _text(name: str) -> str:
    """A name that can be encoded: bytes in it that are no UTF-8 are written out."""
    return name.encode("utf-8", "backslashreplace").decode()
