"""Images of every format and subtype, made on the spot: seeds for tests of the decoders, with the pixels that they hold."""

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
from PIL import Image

import iptdata

SAMPLES = Path(iptdata.__file__).parent / "source" / "samples"
HEIGHT, WIDTH = 42, 53


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A file and what it holds.

    Attributes:
        data: Its bytes.
        pixels: uint8 (H, W, 3), None when the format is lossy or the file is to be refused.
        alpha: uint8 (H, W), None without transparency, or where it is lossy.
        bits: Bits per channel.
        grey: Whether it has one colour channel.
        refused: Words of the detail, when it is to be refused.
    """

    data: bytes
    pixels: np.ndarray | None = None
    alpha: np.ndarray | None = None
    bits: int = 8
    grey: bool = False
    refused: str = ""


def photo(bits: int = 8, channels: int = 3) -> np.ndarray:
    """A real photo, its last channel a ramp where there are 2 or 4: integers (HEIGHT, WIDTH, channels) of some bits."""
    image = cv2.imread(str(SAMPLES / "astronaut.jpg"))
    assert image is not None
    small = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)[..., ::-1].astype(np.int64)
    grain = np.random.default_rng(0).integers(0, 256, small.shape)
    deep = small * 256 + grain  # all 16 bits count
    if channels < 3:
        deep = deep[..., 1:2]
    if channels in (2, 4):
        ramp = np.linspace(0, 65535, WIDTH).round().astype(np.int64)
        deep = np.dstack([deep, np.broadcast_to(ramp, (HEIGHT, WIDTH))])
    return deep >> (16 - bits)


def scaled(samples: np.ndarray, bits: int) -> np.ndarray:
    """Integers of some bits on 0..255, rounded."""
    return np.floor(samples * 255 / ((1 << bits) - 1) + 0.5).astype(np.uint8)


def sample(data: bytes, samples: np.ndarray, bits: int) -> Sample:
    """What a lossless file of grey or RGB samples, with or without alpha, holds."""
    eight, channels = scaled(samples, bits), samples.shape[2]
    colours = eight[..., :1].repeat(3, axis=2) if channels < 3 else eight[..., :3]
    alpha = eight[..., -1] if channels in (2, 4) else None
    return Sample(data=data, pixels=colours, alpha=alpha, bits=max(8, bits), grey=channels < 3)


def packed(samples: np.ndarray, bits: int, order: str = ">") -> list[bytes]:
    """Rows of samples (H, W, C), each from a whole byte on."""
    rows = samples.reshape(len(samples), -1)
    if bits >= 8:
        return [row.astype(f"{order}u{bits // 8}").tobytes() for row in rows]
    planes = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return [np.packbits(row.reshape(-1)).tobytes() for row in planes]


# PNG


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    samples: np.ndarray,
    depth: int,
    colour: int,
    *,
    before: Sequence[tuple[bytes, bytes]] = (),
    interlaced: bool = False,
    piece: int = 1000,
) -> bytes:
    """A PNG, with further chunks before those of its pixels."""
    height, width = samples.shape[:2]
    passes = [samples]
    if interlaced:
        grid = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
        passes = [samples[top::down, left::right] for top, left, down, right in grid]
    raw = b"".join(b"\0" + row for part in passes if part.size for row in packed(part, depth))
    pixels = zlib.compress(raw)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))), *before]
    chunks += [(b"IDAT", pixels[start : start + piece]) for start in range(0, len(pixels), piece)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in [*chunks, (b"IEND", b"")])


def pngs() -> dict[str, Sample]:
    found: dict[str, Sample] = {}
    for colour, channels, depths in ((0, 1, (1, 2, 4, 8, 16)), (2, 3, (8, 16)), (4, 2, (8, 16)), (6, 4, (8, 16))):
        for depth in depths:
            samples = photo(depth, channels)
            for interlaced in (False, True):
                name = f"png colour {colour} depth {depth}{' interlaced' * interlaced}"
                found[name] = sample(png(samples, depth, colour, interlaced=interlaced), samples, depth)
    palette = np.random.default_rng(1).integers(0, 256, (256, 3), np.uint8)
    for depth in (1, 2, 4, 8):
        indices = photo(depth, 1)
        table = palette[: 1 << depth]
        pixels = table[indices[..., 0]]
        data = png(indices, depth, 3, before=[(b"PLTE", table.tobytes())])
        found[f"png palette {depth}"] = Sample(data=data, pixels=pixels)
        alphas = np.arange(0, 2 << depth, 2)[: 1 << depth] % 256
        data = png(indices, depth, 3, before=[(b"PLTE", table.tobytes()), (b"tRNS", bytes(alphas.tolist()))])
        found[f"png palette {depth} transparent"] = Sample(
            data=data, pixels=pixels, alpha=alphas[indices[..., 0]].astype(np.uint8)
        )
    for depth, channels in ((1, 1), (4, 1), (8, 1), (16, 1), (8, 3), (16, 3)):
        samples = photo(depth, channels)
        clear = samples[HEIGHT // 2, WIDTH // 2]
        data = png(samples, depth, channels - 1, before=[(b"tRNS", clear.astype(">u2").tobytes())])
        alpha = np.where((samples == clear).all(axis=2), 0, 255).astype(np.uint8)
        base = sample(data, samples, depth)
        found[f"png colour {channels - 1} depth {depth} transparent"] = Sample(
            data=data, pixels=base.pixels, alpha=alpha, bits=base.bits, grey=base.grey
        )
    eight = photo()
    text = [
        (b"gAMA", struct.pack(">I", 100_000)),
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(500))),
        (b"tEXt", b"Comment\0text"),
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1000))),
        (b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(1000))),
        (b"eXIf", b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"),
    ]
    found["png text and profile"] = sample(png(eight, 8, 2, before=text), eight, 8)
    frames = [Image.fromarray(eight.astype(np.uint8)), Image.fromarray(eight[::-1].astype(np.uint8))]
    found["png animated"] = sample(by_pillow(frames[0], "PNG", save_all=True, append_images=frames[1:]), eight, 8)
    return found


# TIFF


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
WHITE_RUNS = "00110101 000111 0111 1000 1011 1100 1110 1111 10011 10100 00111 01000 001000".split()
BLACK_RUNS = "0000110111 010 11 10 011 0011 0010 00011 000101 000100 0000100 0000101 0000111".split()


def short_runs() -> np.ndarray:
    """An image of 0 (white) and 1 with runs of at most 12 pixels: (HEIGHT, WIDTH, 1)."""
    draws = np.random.default_rng(4).integers(1, 13, (HEIGHT, WIDTH))
    return np.stack([np.repeat(np.arange(WIDTH) % 2, row)[:WIDTH] for row in draws])[..., None]


def ccitt(part: np.ndarray, compression: int) -> bytes:
    """Rows of short runs in CCITT's RLE (2), group 3 without end-of-line codes (3), or group 4, all in horizontal mode."""
    lines = []
    for row in part[..., 0]:
        edges = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), len(row)]
        runs = [(BLACK_RUNS if index % 2 else WHITE_RUNS)[end - start] for index, (start, end) in enumerate(zip(edges, edges[1:]))]
        if compression == 4:
            runs += [WHITE_RUNS[0], BLACK_RUNS[0]][len(runs) % 2 :] if len(runs) % 2 else []
            lines.append("".join("001" + first + second for first, second in zip(runs[::2], runs[1::2])))
        else:
            lines.append("".join(runs))
    if compression == 2:
        lines = [line.ljust(-(-len(line) // 8) * 8, "0") for line in lines]
    bits = "".join(lines)
    bits = bits.ljust(-(-len(bits) // 8) * 8, "0")
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


COMPRESSIONS: dict[int, Callable[[bytes], bytes]] = {
    1: bytes,
    5: lzw,
    8: zlib.compress,
    32773: packbits,
    32946: zlib.compress,
    34925: lambda data: imagecodecs.lzma_encode(data),
    50000: lambda data: imagecodecs.zstd_encode(data),
}
REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@dataclass(frozen=True, kw_only=True)
class Tiff:
    """How to write a TIFF; further tags replace or add to those computed."""

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
    encode: Callable[[np.ndarray], bytes] | None = None
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
        start = 16 if self.big else 8
        offsets = [start + sum(map(len, segments[:index])) for index in range(len(segments))]
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
        return write_tiff(b"".join(segments), [(tag, *value) for tag, value in (tags | self.tags).items()], self.order, self.big)


def write_tiff(content: bytes, entries: Sequence[tuple[int, int, Sequence[int]]], order: str = "<", big: bool = False) -> bytes:
    """A TIFF of content, which begins after the header, and one directory: tag, type and values, in any order and number."""
    offset, count, slot = ("Q", "Q", 8) if big else ("I", "H", 4)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42)
    head += struct.pack(f"{order}HH", 8, 0) if big else b""
    start = len(head) + slot
    content += bytes(len(content) % 2)
    after = start + len(content) + struct.calcsize(order + count) + len(entries) * (12 + 2 * (slot - 4)) + slot
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
    return head + struct.pack(order + offset, start + len(content)) + content + directory + bytes(slot) + values


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
    return imagecodecs.jpeg8_encode(part if part.shape[2] > 1 else part[..., 0], level=95, **options)


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
    found["tiff one strip without size"] = tiff(rgb, rows=HEIGHT)
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
        data = Tiff(samples=photo(bits, 1), bits=bits, photometric=3, tags={320: (3, (table * 257).reshape(-1).tolist())}).bytes()
        found[f"tiff palette {bits}"] = Sample(data=data, pixels=table.T[photo(bits, 1)[..., 0]].astype(np.uint8))
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
    found["tiff jpeg grey"] = Sample(
        data=Tiff(samples=grey, compression=7, photometric=1, encode=jpeg_part).bytes(), grey=True
    )
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
            samples=stripes, bits=1, photometric=0, compression=compression, encode=lambda part, kind=compression: ccitt(part, kind)
        ).bytes()
        found[f"tiff ccitt {compression}"] = sample(data, 1 - stripes, 1)
    for compression in (1, 5, 8):
        good, data = cv2.imencode(".tif", rgb[..., ::-1].astype(np.uint8), [cv2.IMWRITE_TIFF_COMPRESSION, compression])
        assert good
        found[f"tiff by OpenCV {compression}"] = sample(data.tobytes(), rgb, 8)
    for number, (kind, bits, words) in enumerate(
        ((3, 32, "float32"), (3, 16, "float16"), (3, 64, "float64"), (2, 8, "signed 8-bit"), (1, 32, "32-bit integer"), (2, 16, "signed 16-bit"))
    ):
        wide = np.zeros((HEIGHT, WIDTH, 1), np.int64)
        found[f"tiff refused {number}"] = refused_tiff(words, wide, bits=bits, tags={339: (3, [kind])})
    found["tiff lab"] = refused_tiff("Lab", rgb, photometric=8)
    found["tiff raw ycbcr"] = refused_tiff("YCbCr", rgb, photometric=6)
    found["tiff old jpeg"] = refused_tiff("old-style JPEG", rgb, tags={259: (3, [6])})
    found["tiff lerc"] = refused_tiff("LERC", rgb, tags={259: (3, [34887])})
    found["tiff 12 bits"] = refused_tiff("12-bit", photo(16), bits=16, tags={258: (3, [12] * 3)})
    return found


# JPEG, WebP, BMP


def by_pillow(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def jpegs() -> dict[str, Sample]:
    rgb = photo().astype(np.uint8)
    image = Image.fromarray(rgb)
    exif = Image.Exif()
    exif[0x0112] = 6
    cmyk = np.dstack([rgb, rgb[..., 0]])
    baseline = by_pillow(image, "JPEG", quality=90)
    found = {
        "jpeg 420": by_pillow(image, "JPEG", subsampling=2),
        "jpeg 422": by_pillow(image, "JPEG", subsampling=1),
        "jpeg 444": by_pillow(image, "JPEG", subsampling=0),
        "jpeg progressive": by_pillow(image, "JPEG", progressive=True),
        "jpeg optimised": by_pillow(image, "JPEG", optimize=True),
        "jpeg restarts": by_pillow(image, "JPEG", restart_marker_blocks=2),
        "jpeg exif and profile": by_pillow(image, "JPEG", exif=exif, icc_profile=bytes(3000), dpi=(300, 300)),
        "jpeg cmyk": by_pillow(image.convert("CMYK"), "JPEG"),
        "jpeg progressive cmyk": by_pillow(image.convert("CMYK"), "JPEG", progressive=True),
        "jpeg ycck": imagecodecs.jpeg8_encode(cmyk, colorspace="CMYK", outcolorspace="YCCK"),
        "jpeg rgb": imagecodecs.jpeg8_encode(rgb, colorspace="RGB", outcolorspace="RGB"),
        "jpeg and a preview": by_pillow(image, "MPO", save_all=True, append_images=[image.resize((20, 16))]),
        "jpeg and bytes after it": baseline + bytes(range(256)) * 4,
    }
    samples = {name: Sample(data=data) for name, data in found.items()}
    for name, options in (("grey", {}), ("progressive grey", {"progressive": True})):
        samples[f"jpeg {name}"] = Sample(data=by_pillow(image.convert("L"), "JPEG", **options), grey=True)
    samples["jpeg lossless"] = sample(imagecodecs.jpeg8_encode(rgb, lossless=True), photo(), 8)
    deep = imagecodecs.jpeg8_encode(photo(12).astype(np.uint16), bitspersample=12)
    samples["jpeg 12 bits"] = Sample(data=deep, refused="12 bits")
    samples["jpeg arithmetic"] = Sample(data=baseline.replace(b"\xff\xc0", b"\xff\xc9", 1), refused="arithmetic")
    return samples


def webps() -> dict[str, Sample]:
    rgb, rgba = photo().astype(np.uint8), np.maximum(photo(8, 4), 1).astype(np.uint8)  # colours are dropped where alpha is 0
    animation = cv2.Animation()
    animation.frames = [rgb[..., ::-1].copy(), rgb[::-1, :, ::-1].copy()]
    animation.durations = [100, 100]
    good, animated = cv2.imencodeanimation(".webp", animation)
    assert good
    lossless = imagecodecs.webp_encode(rgb, lossless=True)
    vp8x = b"VP8X" + struct.pack("<IB3xHBHB", 10, 0x08, WIDTH - 1, 0, HEIGHT - 1, 0)
    body = vp8x + lossless[12:] + b"EXIF" + struct.pack("<I", 26) + b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    return {
        "webp lossy": Sample(data=imagecodecs.webp_encode(rgb, level=80)),
        "webp lossy alpha": Sample(data=imagecodecs.webp_encode(rgba, level=80)),
        "webp lossless": sample(lossless, photo(), 8),
        "webp exif": sample(b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body, photo(), 8),
        "webp animated": Sample(data=animated.tobytes()),
        "webp lossless alpha": sample(
            cv2.imencode(".webp", rgba[..., [2, 1, 0, 3]], [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes(), rgba.astype(np.int64), 8
        ),
    }


def bmp(rows: bytes, depth: int, *, coding: int = 0, palette: bytes = b"", masks: Sequence[int] = (), height: int = HEIGHT) -> bytes:
    """A BMP with a header of 40 bytes and masks behind it, or of 108 bytes where there are four masks."""
    extra = struct.pack(f"<{len(masks)}I", *masks)
    size = 108 if len(masks) == 4 else 40
    head = struct.pack("<IiiHHIIiiII", size, WIDTH, height, 1, depth, coding, len(rows), 2835, 2835, len(palette) // 4, 0)
    head += extra.ljust(68, b"\0") if size == 108 else extra
    offset = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + head + palette + rows


def bmp_rows(samples: np.ndarray, bits: int, top_down: bool = False) -> bytes:
    rows = packed(samples, bits, "<")
    return b"".join(row + bytes(-len(row) % 4) for row in (rows if top_down else rows[::-1]))


def bmps() -> dict[str, Sample]:
    rgb, rgba = photo(), photo(8, 4)
    pixels = rgb.astype(np.uint8)
    found = {
        "bmp 24": Sample(data=bmp(bmp_rows(rgb[..., ::-1], 8), 24), pixels=pixels),
        "bmp 24 top down": Sample(data=bmp(bmp_rows(rgb[..., ::-1], 8, True), 24, height=-HEIGHT), pixels=pixels),
        "bmp 32": Sample(data=bmp(bmp_rows(rgba[..., [2, 1, 0, 3]], 8), 32), pixels=pixels),
        "bmp 32 alpha": Sample(
            data=bmp(bmp_rows(rgba[..., [2, 1, 0, 3]], 8), 32, coding=3, masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
            pixels=pixels,
            alpha=rgba[..., 3].astype(np.uint8),
        ),
    }
    greys = bytes(np.repeat(np.arange(256, dtype=np.uint8)[:, None], 4, axis=1).tobytes())
    grey = photo(8, 1)
    found["bmp grey"] = sample(bmp(bmp_rows(grey, 8), 8, palette=greys), grey, 8)
    for bits in (1, 4, 8):
        table = np.random.default_rng(3).integers(0, 256, (1 << bits, 4), np.uint8)
        indices = photo(bits, 1)
        expected = table[indices[..., 0]][..., 2::-1]
        found[f"bmp palette {bits}"] = Sample(data=bmp(bmp_rows(indices, bits), bits, palette=table.tobytes()), pixels=expected)
        core = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, bits) + table[:, :3].tobytes()
        rows = bmp_rows(indices, bits)
        data = b"BM" + struct.pack("<IHHI", 14 + len(core) + len(rows), 0, 0, 14 + len(core)) + core + rows
        found[f"bmp os2 {bits}"] = Sample(data=data, pixels=expected)
        if bits == 8:
            runs = b"".join(b"".join(bytes([1, value]) for value in row) + b"\0\0" for row in indices[::-1, :, 0].tolist())
            found["bmp rle8"] = Sample(data=bmp(runs + b"\0\1", 8, coding=1, palette=table.tobytes()), pixels=expected)
        if bits == 4:
            runs = b"".join(b"".join(bytes([1, value << 4]) for value in row) + b"\0\0" for row in indices[::-1, :, 0].tolist())
            found["bmp rle4"] = Sample(data=bmp(runs + b"\0\1", 4, coding=2, palette=table.tobytes()), pixels=expected)
    five = photo(5)
    words = (five[..., 0] << 10 | five[..., 1] << 5 | five[..., 2])[..., None]
    found["bmp 555"] = Sample(data=bmp(bmp_rows(words, 16), 16))
    words = (five[..., 0] << 11 | five[..., 1] << 6 | five[..., 2])[..., None]
    found["bmp 565"] = Sample(data=bmp(bmp_rows(words, 16), 16, coding=3, masks=(0xF800, 0x7E0, 0x1F)))
    return found


@cache
def files() -> dict[str, Sample]:
    """All files by name."""
    return jpegs() | pngs() | webps() | bmps() | tiffs()
