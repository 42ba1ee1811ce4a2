"""Find equal texts in a column of millions: vectorised hashes first, then the texts of the few rows whose hashes are equal."""

import numpy as np
import pyarrow as pa

from iptdata.take import take_rows

_ROWS = 1 << 15  # so that what is computed of them stays in the cache of a core
_MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xFF51AFD7ED558CCD], np.uint64)
_ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)


def duplicate_rows(column: pa.ChunkedArray) -> np.ndarray:
    """Rows whose text another row has too: int64, ascending.

    Args:
        column: Text without nulls.
    """
    hashes = text_hashes(column)
    hashes.sort()
    repeated = hashes[1:][hashes[1:] == hashes[:-1]]
    if not len(repeated):
        return np.empty(0, np.int64)
    del hashes
    candidates = np.flatnonzero(_is_in(text_hashes(column), repeated))
    encoded = take_rows(pa.table([column], names=["text"]), candidates)["text"].combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy()
    return candidates[np.bincount(codes)[codes] > 1]


def text_hashes(column: pa.ChunkedArray) -> np.ndarray:
    """A hash of each text, equal for equal texts: uint64; not resistant to collisions made on purpose.

    Args:
        column: Text without nulls.
    """
    hashes = np.empty(len(column), np.uint64)
    first = 0
    for chunk in column.chunks:
        for start in range(0, len(chunk), _ROWS):
            part = chunk.slice(start, _ROWS)
            hashes[first : first + len(part)] = _hashes(part)
            first += len(part)
    return hashes


def _hashes(texts: pa.Array) -> np.ndarray:
    data, offsets = text_bytes(texts)
    padded = np.concatenate([data, np.zeros(8, np.uint8)])
    words = np.ndarray(len(data) + 1, "<u8", padded.data, strides=(1,))  # the 8 bytes from each byte on
    starts, lengths = offsets[:-1], np.diff(offsets)
    hashes = lengths.astype(np.uint64) * _MULTIPLIERS[0]
    rows = np.arange(len(lengths))
    position = 0
    while len(rows := rows[lengths[rows] > position]):
        found = words[starts[rows] + position]
        unused = 8 - np.minimum(lengths[rows] - position, 8)
        found &= _ALL_BITS >> (unused.astype(np.uint64) * np.uint64(8))
        mixed = (hashes[rows] ^ found) * _MULTIPLIERS[1]
        hashes[rows] = mixed ^ (mixed >> np.uint64(32))
        position += 8
    return hashes


def text_bytes(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The UTF-8 bytes of all texts, uint8, and where each begins in them, then their number: int64 (texts + 1,)."""
    if not len(texts):
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    _, positions, data = texts.buffers()
    width = np.int64 if texts.type == pa.large_string() else np.int32
    offsets = np.frombuffer(positions, width)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    found = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return found[offsets[0] : offsets[-1]], offsets - offsets[0]


def _is_in(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Whether each value is one of the chosen ones, which are sorted."""
    positions = np.searchsorted(chosen, values)
    positions[positions == len(chosen)] = 0
    return chosen[positions] == values
