"""Tars of samples without a manifest: not written by iptdata, or left by an unfinished build.

They are read at any place (`Tar.contents`) or from start to end (`Tar.encoded_pairs`). Only the two images of a pair are
decoded, as npy without pickle or by `iptdata.image.decode`; other members are not read, except the record of a pair to show.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import IO, Any, NamedTuple

import numpy as np

from iptdata.errors import ShardError, one_line, printable
from iptdata.files.storage import Storage
from iptdata.files.tar_members import TarMember, tar_members
from iptdata.files.tar_samples import Sample, group_samples, is_npy
from iptdata.image.decode import Unusable, decode
from iptdata.image.npy import decode_npy
from iptdata.units import format_bytes, pluralize

_REMOTE_BYTES = 16_000_000
_MAX_MEMBER_BYTES = 1 << 28
_BUFFER_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_RATIO = 1040  # no deflate stream expands more than 1,032 times


class EncodedPair(NamedTuple):
    """The images of a sample as they are in the tar.

    Attributes:
        path: Path of the tar.
        key: Key of the sample.
        names: Names of the clean and the corrupted member after the key.
        contents: Their bytes.
    """

    path: str
    key: str
    names: tuple[str, str]
    contents: tuple[bytes, bytes]

    @property
    def size(self) -> int:
        """Bytes of both members."""
        return sum(map(len, self.contents))

    def decode(self) -> tuple[np.ndarray, np.ndarray]:
        """The clean and the corrupted image: uint8 (H, W, 3), RGB.

        Raises:
            ShardError: When one cannot be decoded.
        """
        clean, corrupted = (self._image(*side) for side in zip(self.names, self.contents, strict=True))
        return clean, corrupted

    def _image(self, name: str, data: bytes) -> np.ndarray:
        try:
            return decode_npy(data) if is_npy(name) else decode(data).pixels
        except Unusable as error:
            member = printable(f"{self.key}.{name}")
            raise ShardError(f"{self.path}: {member} cannot be used: {printable(error.detail)}") from error


class TarContents(NamedTuple):
    """The samples that could be listed in a tar.

    Attributes:
        samples: The samples in order, with offset and bytes of each member.
        problem: Why samples may be missing, "" for a valid tar.
        complete: False if only the start of a remote tar was read.
    """

    samples: list[Sample[tuple[int, int]]]
    problem: str
    complete: bool


@dataclass(frozen=True)
class Tar:
    """A tar of samples: adjacent members with the same key, see `iptdata.files.tar_samples`.

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

    def read(self, sample: Sample[tuple[int, int]], name: str) -> bytes:
        """Read the bytes of a member.

        Raises:
            ShardError: When it is too large for an image.
            StorageError: When it cannot be read.
        """
        offset, size = sample.members[name]
        _check_size(f"{sample.key}.{name}", size, f"{self.path}: ")
        return self.storage.read(self.name, offset, size)

    def pair(self, sample: Sample[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
        """Read the clean and the corrupted image of a sample: uint8 (H, W, 3).

        Raises:
            ShardError: When one is missing or cannot be decoded.
            StorageError: When the tar cannot be read.
        """
        names = self._pair_of(sample)
        return EncodedPair(self.path, sample.key, names, (self.read(sample, names[0]), self.read(sample, names[1]))).decode()

    def encoded_pairs(self) -> Iterator[EncodedPair | ShardError]:
        """The pairs of the tar, which may be compressed with gzip, and an error for each sample that has none.

        An error of the tar itself is raised, after the pairs before the damage.

        Raises:
            ShardError: When the tar is damaged, cut off, or holds no sample.
            StorageError: When it cannot be opened.
        """
        listed = 0
        with self._opened() as (file, length):
            problem = None
            samples = group_samples(tar_members(file, length), partial(_read_image, file))
            while True:
                try:
                    sample = next(samples, None)
                    if sample is None:
                        _check_end(file)
                except (OSError, EOFError, zlib.error) as error:
                    problem = ShardError(one_line(error))
                except ShardError as error:
                    problem = error
                if problem is not None:
                    raise ShardError(f"{self.path} {_invalid(listed, problem)}", hint=problem.hint) from problem
                if sample is None:
                    break
                listed += 1
                try:
                    names = self._pair_of(sample)
                    members = sample.members
                    yield EncodedPair(self.path, sample.key, names, (members[names[0]], members[names[1]]))
                except ShardError as error:
                    yield error
        if not listed:
            raise ShardError(f"{self.path} has no sample")

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], int]]:
        """The tar for reading from start to end, decompressed, and the bytes that it can have at most."""
        length = self.storage.size(self.name) or 0
        with self.storage.open(self.name) as raw:
            file = io.BufferedReader(raw, _BUFFER_BYTES)  # pyright: ignore[reportArgumentType]
            compressed = file.peek(2)[:2] == _GZIP_MAGIC
            tar: Any = gzip.GzipFile(fileobj=file) if compressed else file
            yield tar, length * (_GZIP_RATIO if compressed else 1)

    def _pair_of(self, sample: Sample[Any]) -> tuple[str, str]:
        try:
            return sample.pair()
        except ShardError as error:
            raise ShardError(f"{self.path}: {error.message}", hint=error.hint) from error


def _read_image(file: IO[bytes], member: TarMember, side: str) -> bytes:
    """The content of an image of a pair; nothing of any other member."""
    if not side:
        return b""
    _check_size(member.name, member.size)
    data = file.read(member.size)
    if len(data) < member.size:
        raise ShardError("it ends within a member")
    return data


def _check_end(file: IO[bytes]) -> None:
    """Read what follows the last member of a compressed tar, since the checksum of its content is at its end."""
    if isinstance(file, gzip.GzipFile):
        while file.read(_BUFFER_BYTES):
            pass


def _check_size(name: str, size: int, prefix: str = "") -> None:
    if size > _MAX_MEMBER_BYTES:
        limit = format_bytes(_MAX_MEMBER_BYTES)
        raise ShardError(f"{prefix}{printable(name)} has {format_bytes(size)}, expected an image of at most {limit}")


def _list(file: IO[bytes] | Any, length: int) -> tuple[list[Sample[tuple[int, int]]], str]:
    """List the samples of a tar of `length` bytes, and the problem that makes the list incomplete or unreliable, or ""."""
    samples: list[Sample[tuple[int, int]]] = []
    try:
        for sample in group_samples(tar_members(file, length), lambda member, _: (member.offset, member.size)):
            samples.append(sample)
    except (ShardError, OSError) as error:
        return samples, _invalid(len(samples), error)
    return samples, ""


def _invalid(listed: int, error: Exception) -> str:
    return f"is not a valid tar after its first {pluralize(listed, 'sample')}: {one_line(error, 200)}"
