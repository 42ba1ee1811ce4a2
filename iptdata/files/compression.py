"""Files that are compressed as a whole, so that they have no random access: how they are recognised, what decompresses them."""

from typing import NamedTuple


class Compression(NamedTuple):
    """A method that compresses a whole file.

    Attributes:
        name: Its name.
        command: The command that decompresses a file.
        suffixes: Suffixes that the command removes, in lower case: that of any file, then those that stand for a tar as well.
    """

    name: str
    command: str
    suffixes: tuple[str, ...]


_BY_START = {
    b"\x1f\x8b": Compression("gzip", "gunzip", (".gz", ".tgz")),
    b"BZh": Compression("bzip2", "bunzip2", (".bz2", ".tbz", ".tbz2")),
    b"\xfd7zXZ\0": Compression("xz", "unxz", (".xz", ".txz")),
    b"\x28\xb5\x2f\xfd": Compression("Zstandard", "unzstd", (".zst", ".tzst")),
}
SHORT_SUFFIXES = tuple(suffix for method in _BY_START.values() for suffix in method.suffixes[1:])
TAR_SUFFIXES = (*(f".tar{method.suffixes[0]}" for method in _BY_START.values()), *SHORT_SUFFIXES)


def compression_of(start: bytes) -> Compression | None:
    """How a file is compressed, by its first bytes; None if it is not.

    Args:
        start: At least its first 6 bytes.
    """
    return next((method for magic, method in _BY_START.items() if start.startswith(magic)), None)
