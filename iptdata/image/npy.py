"""npy files of images. Their header is a literal, and nothing but a few types of samples is looked up by it: no pickle."""

import ast
import math
import re
import struct

import numpy as np

from iptdata.errors import one_line, shown
from iptdata.image.decoded import Unusable
from iptdata.image.samples import to_eight_bits

_MAGIC = b"\x93NUMPY"
_LENGTHS = {1: "<H", 2: "<I", 3: "<I"}  # of the header, by version
_MAX_HEADER = 10_000
_KEYS = {"descr", "fortran_order", "shape"}
_TYPES = {"|u1": "u1", "<u1": "u1", ">u1": "u1", "u1": "u1", "<u2": "<u2", ">u2": ">u2"}
_NAMES = {"b1": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}


def decode_npy(data: bytes) -> np.ndarray:
    """Read the image in an npy file of uint8 or uint16 (H, W, 3), in any order.

    Returns:
        uint8 (H, W, 3); 16-bit samples are scaled with rounding.

    Raises:
        Unusable: When it holds anything else.
    """
    header, start = _read_header(data)
    descr, shape, fortran_order = header["descr"], header["shape"], header["fortran_order"]
    kind = _TYPES.get(descr) if isinstance(descr, str) else None
    sides = shape if isinstance(shape, tuple) else ()
    image = len(sides) == 3 and sides[2] == 3 and all(type(side) is int and 0 < side < 2**40 for side in sides)
    if kind is None or not image or not isinstance(fortran_order, bool):
        raise Unusable("unreadable", f"found {_type_name(descr)} {shown(shape)}, expected uint8 or uint16 (H, W, 3)")
    size, expected = len(data) - start, math.prod(sides) * int(kind[-1])
    if size != expected:
        raise Unusable("damaged", f"found {size:,} bytes for {_type_name(descr)} {sides}, expected {expected:,}")
    samples = np.frombuffer(data, kind, offset=start).reshape(sides, order="F" if fortran_order else "C")
    return to_eight_bits(np.ascontiguousarray(samples.astype(samples.dtype.newbyteorder("="), copy=False)))


def _read_header(data: bytes) -> tuple[dict[str, object], int]:
    """The header, and where the samples begin."""
    length_format = _LENGTHS.get(data[6]) if len(data) > 12 and data.startswith(_MAGIC) else None
    if length_format is None:
        raise Unusable("unreadable", f"not an npy file: it starts with {bytes(data[:8])!r}")
    first = 8 + struct.calcsize(length_format)
    (length,) = struct.unpack_from(length_format, data, 8)
    if length > min(_MAX_HEADER, len(data) - first):
        raise Unusable("unreadable", f"not an npy file: found a header of {length:,} bytes, expected at most {_MAX_HEADER:,}")
    try:
        text = data[first : first + length].decode("utf-8" if data[6] == 3 else "latin-1").strip()
        header = ast.literal_eval(re.sub(r"(?<=\d)L\b", "", text))  # Python 2 wrote long integers so
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise Unusable("unreadable", f"not an npy file: {one_line(error, 100)}") from error
    if not isinstance(header, dict) or header.keys() != _KEYS:
        raise Unusable("unreadable", f"not an npy file: found the header {shown(header)}")
    return header, first + length


def _type_name(descr: object) -> str:
    """numpy's name of a type, such as float32."""
    text = descr.lstrip("<>|=") if isinstance(descr, str) else ""
    if text == "O":
        return "object"
    name, size = _NAMES.get(text[:1] if text != "b1" else text), text[1:]
    if name is None or not (size.isascii() and size.isdigit() and len(size) < 3):
        return shown(descr)
    return name if text == "b1" else f"{name}{8 * int(size)}"
