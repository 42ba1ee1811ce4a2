"""TIFFs of every subtype, with a writer that writes what it is asked to, lies included."""

import itertools
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import imagecodecs
import numpy as np

from tests.image.samples import HEIGHT, WIDTH, Sample, packed, photo, sample


def lzw(data: bytes) -> bytes:
    """TIFF's LZW with literals only, the table being cleared before its codes grow to 10 bits."""
    codes = [code for start in range(0, len(data), 250) for code in (256, *data[start : start + 250])] + [257]
    bits = "".join(f"{code:09b}" for code in codes)
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def packbits(data: bytes) -> bytes:
    return b"".join(
        bytes([len(data[start : start + 128]) - 1]) + data[start : start + 128] for start in range(0, len(data), 128)
    )


# Codes of runs of 0 to 12 pixels, ITU-T T.4, table 2.
WHITE_RUNS = [
    "00110101",
    "000111",
    "0111",
    "1000",
    "1011",
    "1100",
    "1110",
    "1111",
    "10011",
    "10100",
    "00111",
    "01000",
    "001000",
]
BLACK_RUNS = [
    "0000110111",
    "010",
    "11",
    "10",
    "011",
    "0011",
    "0010",
    "00011",
    "000101",
    "000100",
    "0000100",
    "0000101",
    "0000111",
]


def short_runs() -> np.ndarray:
    """An image of 0 (white) and 1 with runs of at most 12 pixels: (HEIGHT, WIDTH, 1)."""
    draws = np.random.default_rng(4).integers(1, 13, (HEIGHT, WIDTH))
    return np.stack([np.repeat(np.arange(WIDTH) % 2, row)[:WIDTH] for row in draws])[..., None]


def ccitt(part: np.ndarray, compression: int) -> bytes:
    """Rows of short runs in CCITT's RLE (2), group 3 without end-of-line codes (3), or group 4, all in horizontal mode."""
    lines = []
    for row in part[..., 0]:
        edges = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), len(row)]
        runs = [
            (BLACK_RUNS if index % 2 else WHITE_RUNS)[end - start]
            for index, (start, end) in enumerate(itertools.pairwise(edges))
        ]
        if compression == 4:
            runs += [BLACK_RUNS[0]] * (len(runs) % 2)
            lines.append("".join("001" + first + second for first, second in zip(runs[::2], runs[1::2], strict=True)))
        else:
            lines.append("".join(runs))
    if compression == 2:
        lines = [line.ljust(-(-len(line) // 8) * 8, "0") for line in lines]
    bits = "".join(lines)
    bits = bits.ljust(-(-len(bits) // 8) * 8, "0")
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


COMPRESSIONS: dict[int, Callable[[bytes], Any]] = {
    1: bytes,
    5: lzw,
    8: zlib.compress,
    32773: packbits,
    32946: zlib.compress,
    34925: imagecodecs.lzma_encode,
    50000: imagecodecs.zstd_encode,
}
REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@dataclass(frozen=True, kw_only=True)
class Tiff:
    """How to write a TIFF; further tags replace or add to those computed, those without values are left out."""

    samples: np.ndarray
    bits: int = 8
    photometric: int = 2
    compression: int = 1
    order: str = "<"
    big: bool = False
    rows: int = 16
    tile: tuple[int, int] | None = None
    planar: bool = False
    predictor: int = 1
    reverse: bool = False
    encode: Callable[[np.ndarray], Any] | None = None
    tags: dict[int, tuple[int, Sequence[int]]] = field(default_factory=dict)

    def segment(self, part: np.ndarray) -> bytes:
        if self.encode:
            return self.encode(part)
        if self.predictor == 2:
            part = part.copy()
            part[:, 1:] = (part[:, 1:] - part[:, :-1]) % (1 << self.bits)
        data = COMPRESSIONS[self.compression](b"".join(packed(part, self.bits, self.order)))
        return data.translate(REVERSED) if self.reverse else data

    def segments(self) -> list[bytes]:
        channels = self.samples.shape[2]
        planes = [self.samples[..., [index]] for index in range(channels)] if self.planar else [self.samples]
        height, width = self.tile or (self.rows, self.samples.shape[1])
        found = []
        for plane in planes:
            for top in range(0, len(plane), height):
                for left in range(0, plane.shape[1], width):
                    part = plane[top : top + height, left : left + width]
                    if self.tile:
                        part = np.pad(part, ((0, height - part.shape[0]), (0, width - part.shape[1]), (0, 0)), mode="edge")
                    found.append(self.segment(part))
        return found

    def bytes(self) -> bytes:
        segments, (height, width, channels) = self.segments(), self.samples.shape
        offsets = [sum(map(len, segments[:index])) for index in range(len(segments))]
        sizes = [len(segment) for segment in segments]
        tags: dict[int, tuple[int, Sequence[int]]] = {
            256: (3, [width]),
            257: (3, [height]),
            258: (3, [self.bits] * channels),
            259: (3, [self.compression]),
            262: (3, [self.photometric]),
            277: (3, [channels]),
            284: (3, [2 if self.planar else 1]),
        }
        tags |= {322: (3, [self.tile[1]]), 323: (3, [self.tile[0]])} if self.tile else {278: (4, [self.rows])}
        tags |= {324: (4, offsets), 325: (4, sizes)} if self.tile else {273: (4, offsets), 279: (4, sizes)}
        tags |= {317: (3, [self.predictor])} if self.predictor != 1 else {}
        tags |= {266: (3, [2])} if self.reverse else {}
        return write_tiff(
            b"".join(segments), [(tag, *value) for tag, value in (tags | self.tags).items() if value[1]], self.order, self.big
        )


def write_tiff(content: bytes, entries: Sequence[tuple[int, int, Sequence[int]]], order: str = "<", big: bool = False) -> bytes:
    """A TIFF of one directory (tag, type and values, in any order and number) and content; offsets count from the content."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42)
    head += struct.pack(f"{order}HHQ", 8, 0, 16) if big else struct.pack(f"{order}I", 8)
    start = len(head) + len(directory_bytes(entries, len(head), order, big))
    moved = [
        (tag, kind, [number + start for number in numbers] if tag in (273, 324) else numbers) for tag, kind, numbers in entries
    ]
    return head + directory_bytes(moved, len(head), order, big) + content


def directory_bytes(entries: Sequence[tuple[int, int, Sequence[int]]], start: int, order: str, big: bool) -> bytes:
    """A directory at `start`, with the values that do not fit into it behind it."""
    offset, count, slot = ("Q", "Q", 8) if big else ("I", "H", 4)
    after = start + struct.calcsize(order + count) + len(entries) * (12 + 2 * (slot - 4)) + slot
    directory, values = struct.pack(order + count, len(entries)), b""
    for tag, kind, numbers in sorted(entries, key=lambda entry: entry[0]):
        code = {1: "B", 3: "H", 4: "I", 7: "B", 16: "Q"}[kind]
        packed_values = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
        directory += struct.pack(f"{order}HH{offset}", tag, kind, len(numbers))
        if len(packed_values) <= slot:
            directory += packed_values.ljust(slot, b"\0")
        else:
            directory += struct.pack(order + offset, after + len(values))
            values += packed_values + bytes(len(packed_values) % 2)
    return directory + bytes(slot) + values


def tiff(samples: np.ndarray, bits: int = 8, **options: Any) -> Sample:
    """A TIFF of grey or RGB samples, with or without alpha."""
    options.setdefault("photometric", 2 if samples.shape[2] > 2 else 1)
    return sample(Tiff(samples=samples, bits=bits, **options).bytes(), samples, bits)


def refused_tiff(words: str, samples: np.ndarray, **options: Any) -> Sample:
    options.setdefault("photometric", 2 if samples.shape[2] > 2 else 1)
    return Sample(data=Tiff(samples=samples, **options).bytes(), refused=words)


def jpeg_part(part: np.ndarray, **options: Any) -> bytes:
    """A strip as JPEG; RGB without conversion unless options name a colour space."""
    part = part.astype(np.uint8)
    return bytes(imagecodecs.jpeg8_encode(part if part.shape[2] > 1 else part[..., 0], level=95, **options))


def tiffs() -> dict[str, Sample]:
    rgb, grey, rgba = photo(), photo(8, 1), photo(8, 4)
    found: dict[str, Sample] = {}
    for compression in COMPRESSIONS:
        found[f"tiff compression {compression}"] = tiff(rgb, compression=compression)
        found[f"tiff grey compression {compression} predictor"] = tiff(grey, compression=compression, predictor=2)
    for bits in (1, 2, 4, 8, 16):
        for order in "<>":
            found[f"tiff grey {bits} {order}"] = tiff(photo(bits, 1), bits, order=order)
        inverted = (1 << bits) - 1 - photo(bits, 1)
        base = tiff(photo(bits, 1), bits)
        data = Tiff(samples=inverted, bits=bits, photometric=0, compression=5).bytes()
        found[f"tiff white is zero {bits}"] = Sample(data=data, pixels=base.pixels, bits=base.bits, grey=True)
    for order in "<>":
        for big in (False, True):
            name = f"{'big' * big}tiff {order}"
            found[f"{name} rgb 16"] = tiff(photo(16), 16, order=order, big=big, compression=8, predictor=2)
            found[f"{name} rgba 8"] = tiff(rgba, order=order, big=big, tags={338: (3, [2])})
            found[f"{name} tiles"] = tiff(rgb, order=order, big=big, tile=(16, 32), compression=5)
    found["tiff rgb 4"] = tiff(photo(4), 4)
    found["tiff planar"] = tiff(rgb, planar=True, compression=32773)
    found["tiff planar tiles 16 alpha"] = tiff(photo(16, 4), 16, planar=True, tile=(16, 16), compression=8, predictor=2)
    found["tiff grey and alpha"] = tiff(photo(8, 2), tags={338: (3, [2])})
    found["tiff rgba without tag"] = tiff(rgba)
    found["tiff reversed bits"] = tiff(photo(1, 1), 1, reverse=True)
    found["tiff one strip without size"] = tiff(rgb, rows=HEIGHT, tags={279: (4, [])})
    opaque = sample(b"", rgb, 8)
    dropped = Tiff(samples=rgba, tags={338: (3, [0])}).bytes()
    found["tiff unspecified extra sample"] = Sample(data=dropped, pixels=opaque.pixels)
    alpha = rgba[..., 3:]
    multiplied = np.dstack([(rgba[..., :3] * alpha + 127) // 255, alpha])
    divided = np.where(alpha > 0, np.minimum((multiplied[..., :3] * 255 + alpha // 2) // np.maximum(alpha, 1), 255), 0)
    found["tiff associated alpha"] = Sample(
        data=Tiff(samples=multiplied, tags={338: (3, [1])}).bytes(),
        pixels=divided.astype(np.uint8),
        alpha=alpha[..., 0].astype(np.uint8),
    )
    for bits in (1, 4, 8):
        table = np.random.default_rng(2).integers(0, 256, (3, 1 << bits))
        expected = table.T[photo(bits, 1)[..., 0]].astype(np.uint8)
        for name, factor in (("", 257), (" high bytes", 256), (" low bytes", 1)):
            colours = (table * factor).reshape(-1).tolist()
            data = Tiff(samples=photo(bits, 1), bits=bits, photometric=3, tags={320: (3, colours)}).bytes()
            found[f"tiff palette {bits}{name}"] = Sample(data=data, pixels=expected)
    table = np.random.default_rng(2).integers(0, 1 << 16, (3, 256))
    data = Tiff(samples=photo(8, 1), photometric=3, tags={320: (3, table.reshape(-1).tolist())}).bytes()
    found["tiff palette of 16 bits"] = Sample(
        data=data, pixels=np.rint(table.T[photo(8, 1)[..., 0]] * (255 / 65535)).astype(np.uint8)
    )
    inks = photo(8, 4)
    light = 255 - inks[..., 3:]
    cmyk = np.floor((255 - inks[..., :3]) * light / 255 + 0.5).astype(np.uint8)
    found["tiff cmyk"] = Sample(data=Tiff(samples=inks, photometric=5, compression=5).bytes(), pixels=cmyk)
    found["tiff jpeg rgb"] = Sample(
        data=Tiff(
            samples=rgb, compression=7, encode=lambda part: jpeg_part(part, colorspace="RGB", outcolorspace="RGB")
        ).bytes()
    )
    found["tiff jpeg ycbcr tiles"] = Sample(
        data=Tiff(samples=rgb, compression=7, photometric=6, tile=(16, 16), encode=jpeg_part).bytes()
    )
    found["tiff jpeg grey"] = Sample(data=Tiff(samples=grey, compression=7, photometric=1, encode=jpeg_part).bytes(), grey=True)
    found["tiff jpeg cmyk"] = Sample(
        data=Tiff(
            samples=inks,
            compression=7,
            photometric=5,
            encode=lambda part: jpeg_part(part, colorspace="CMYK", outcolorspace="CMYK"),
        ).bytes()
    )
    found["tiff webp"] = sample(
        Tiff(
            samples=rgb,
            compression=50001,
            encode=lambda part: imagecodecs.webp_encode(part.astype(np.uint8), lossless=True),
        ).bytes(),
        rgb,
        8,
    )
    stripes = short_runs()
    for compression in (2, 3, 4):
        data = Tiff(
            samples=stripes,
            bits=1,
            photometric=0,
            compression=compression,
            encode=lambda part, kind=compression: ccitt(part, kind),
        ).bytes()
        found[f"tiff ccitt {compression}"] = sample(data, 1 - stripes, 1)
    for compression in (1, 5, 8):
        good, data = cv2.imencode(".tif", rgb[..., ::-1].astype(np.uint8), [cv2.IMWRITE_TIFF_COMPRESSION, compression])
        assert good
        found[f"tiff by OpenCV {compression}"] = sample(data.tobytes(), rgb, 8)
    return found | refused_tiffs()


def refused_tiffs() -> dict[str, Sample]:
    """TIFFs that hold no 8- or 16-bit picture."""
    rgb = photo()
    found: dict[str, Sample] = {}
    for number, (kind, bits, words) in enumerate(
        (
            (3, 32, "float32"),
            (3, 16, "float16"),
            (3, 64, "float64"),
            (2, 8, "signed 8-bit"),
            (1, 32, "32-bit integer"),
            (2, 16, "signed 16-bit"),
        )
    ):
        wide = np.zeros((HEIGHT, WIDTH, 1), np.int64)
        found[f"tiff refused {number}"] = refused_tiff(words, wide, bits=bits, tags={339: (3, [kind])})
    found["tiff lab"] = refused_tiff("Lab", rgb, photometric=8)
    found["tiff raw ycbcr"] = refused_tiff("YCbCr", rgb, photometric=6)
    found["tiff old jpeg"] = refused_tiff("old-style JPEG", rgb, tags={259: (3, [6])})
    found["tiff lerc"] = refused_tiff("LERC", rgb, tags={259: (3, [34887])})
    found["tiff 12 bits"] = refused_tiff("12-bit", photo(16), bits=16, tags={258: (3, [12] * 3)})
    return found
