"""Deterministic damage to files: flipped bits, cuts, lying fields, pieces doubled, dropped or from other files."""

import random
import struct
import zlib
from collections.abc import Sequence

_LIES = (0, 1, 2, 3, 7, 8, 16, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 60_000, 1 << 20, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_PNG = b"\x89PNG\r\n\x1a\n"


def mutated(data: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """A file with one to three kinds of damage.

    Args:
        data: The file.
        others: Files to take pieces from.
        draw: Decides everything.
    """
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        data = draw.choice(_MUTATIONS)(data, others, draw) or data[:4]
    return data


def _flip(data: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """Flip some bits, in the first 200 bytes in half of the cases."""
    changed, end = bytearray(data), min(200, len(data)) if draw.random() < 0.5 else len(data)
    for _ in range(draw.choice((1, 1, 2, 8, 30))):
        changed[draw.randrange(end)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _cut(data: bytes, _: Sequence[bytes], draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def _drop(data: bytes, _: Sequence[bytes], draw: random.Random) -> bytes:
    start = draw.randrange(len(data))
    return data[:start] + data[start + draw.randrange(1, 64) :]


def _double(data: bytes, _: Sequence[bytes], draw: random.Random) -> bytes:
    start, length = draw.randrange(len(data)), draw.randrange(1, 400)
    return data[:start] + data[start : start + length] * draw.choice((2, 3, 50)) + data[start + length :]


def _splice(data: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    other = draw.choice(others)
    start, length = draw.randrange(len(other)), draw.randrange(1, 600)
    at = draw.randrange(len(data))
    return data[:at] + other[start : start + length] + data[at + draw.choice((0, length)) :]


def _lie(data: bytes, _: Sequence[bytes], draw: random.Random) -> bytes:
    """Write another number over two or four bytes, often in the first 300 or the last 600."""
    changed = bytearray(data)
    start, end = draw.choice(((0, 300), (max(0, len(data) - 600), len(data)), (0, len(data))))
    at = draw.randrange(start, min(end, len(data)))
    code = draw.choice(("<H", ">H", "<I", ">I"))
    value = draw.choice(_LIES) & (0xFFFF if code[1] == "H" else 0xFFFFFFFF)
    changed[at : at + struct.calcsize(code)] = struct.pack(code, value)
    return bytes(changed[: len(data)])


def _structure(data: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """Change a file by its format's rules, so that checksums and lengths hold and decoders go further."""
    if data.startswith(_PNG):
        return _png(data, draw)
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data, draw)
    if data[:4] in (b"II*\0", b"MM\0*") and len(data) >= 8:
        return _tiff(data, draw)
    return _lie(data, others, draw)


def _png(data: bytes, draw: random.Random) -> bytes:
    """Change, double, drop or move a chunk, with its checksum right; damage may lie under the compression."""
    chunks, position = [], len(_PNG)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        chunks.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + length]))
        position += 12 + length
    if not chunks:
        return data
    index = draw.randrange(len(chunks))
    kind, content = chunks[index]
    action = draw.choice(("change", "change", "double", "drop", "move", "rows"))
    if action == "change" and content:
        chunks[index] = (kind, _lie(_flip(content, (), draw), (), draw) if draw.random() < 0.5 else _lie(content, (), draw))
    elif action == "double":
        chunks.insert(draw.randrange(len(chunks)), chunks[index])
    elif action == "drop":
        del chunks[index]
    elif action == "move":
        chunks.insert(draw.randrange(len(chunks)), chunks.pop(index))
    elif action == "rows":
        pixels = b"".join(content for kind, content in chunks if kind == b"IDAT")
        try:
            rows = zlib.decompress(pixels)
        except zlib.error:
            return data
        rows = _flip(rows, (), draw) if rows else rows
        chunks = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
        chunks.insert(-1, (b"IDAT", zlib.compress(rows[: draw.choice((len(rows), len(rows) // 2))])))
    parts = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    return _PNG + b"".join(parts)


def _jpeg(data: bytes, draw: random.Random) -> bytes:
    """Double, drop or change a segment, or repeat the scans."""
    segments, position = [], 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, position + 2)
        segments.append(data[position : position + 2 + length])
        position += 2 + length
    scans = data[position:]
    if not segments:
        return data
    index = draw.randrange(len(segments))
    action = draw.choice(("change", "double", "drop", "move", "scans"))
    if action == "change":
        segments[index] = segments[index][:4] + (_lie(segments[index][4:], (), draw) if len(segments[index]) > 4 else b"")
    elif action == "double":
        segments.insert(draw.randrange(len(segments)), segments[index])
    elif action == "drop":
        del segments[index]
    elif action == "move":
        segments.insert(draw.randrange(len(segments)), segments.pop(index))
    else:
        scans = scans.removesuffix(b"\xff\xd9") * draw.choice((2, 20, 200)) + b"\xff\xd9"
    return b"\xff\xd8" + b"".join(segments) + scans


def _tiff(data: bytes, draw: random.Random) -> bytes:
    """Change type, count or value of an entry, or make it another's tag."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    if start + 2 > len(data):
        return data
    (count,) = struct.unpack_from(f"{order}H", data, start)
    changed, at = bytearray(data), start + 2 + 12 * draw.randrange(max(1, count))
    if at + 12 > len(data):
        return data
    action = draw.choice(("tag", "type", "count", "value", "value", "short"))
    if action == "tag":
        struct.pack_into(
            f"{order}H", changed, at, draw.choice((256, 257, 258, 259, 262, 273, 277, 279, 317, 320, 322, 338, 339))
        )
    elif action == "type":
        struct.pack_into(f"{order}H", changed, at + 2, draw.randrange(20))
    elif action == "count":
        struct.pack_into(f"{order}I", changed, at + 4, draw.choice(_LIES))
    elif action == "value":
        struct.pack_into(f"{order}I", changed, at + 8, draw.choice(_LIES))
    else:
        struct.pack_into(f"{order}H", changed, at + 8, draw.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 32773, 34925, 50000, 50001)))
    return bytes(changed)


_MUTATIONS = (_flip, _flip, _cut, _drop, _double, _splice, _lie, _lie, _structure, _structure, _structure)
