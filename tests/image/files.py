"""Images of every format and subtype, made on the spot: seeds for tests of the decoders, with the pixels that they hold."""

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import cv2
import imagecodecs
import numpy as np
from PIL import Image

from tests.image.samples import HEIGHT, WIDTH, Sample, packed, photo, sample
from tests.image.tiffs import tiffs


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


def coded(encoder: Callable[..., Any], image: np.ndarray, **options: Any) -> bytes:
    return bytes(encoder(image, **options))


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
        "jpeg ycck": coded(imagecodecs.jpeg8_encode, cmyk, colorspace="CMYK", outcolorspace="YCCK"),
        "jpeg rgb": coded(imagecodecs.jpeg8_encode, rgb, colorspace="RGB", outcolorspace="RGB"),
        "jpeg and a preview": by_pillow(image, "MPO", save_all=True, append_images=[image.resize((20, 16))]),
        "jpeg and bytes after it": baseline + bytes(range(256)) * 4,
    }
    samples = {name: Sample(data=data) for name, data in found.items()}
    for name, options in (("grey", {}), ("progressive grey", {"progressive": True})):
        samples[f"jpeg {name}"] = Sample(data=by_pillow(image.convert("L"), "JPEG", **options), grey=True)
    samples["jpeg lossless"] = sample(coded(imagecodecs.jpeg8_encode, rgb, lossless=True), photo(), 8)
    deep = coded(imagecodecs.jpeg8_encode, photo(12).astype(np.uint16), bitspersample=12)
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
    lossless = coded(imagecodecs.webp_encode, rgb, lossless=True)
    vp8x = b"VP8X" + struct.pack("<IB3xHBHB", 10, 0x08, WIDTH - 1, 0, HEIGHT - 1, 0)
    body = vp8x + lossless[12:] + b"EXIF" + struct.pack("<I", 26) + b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    return {
        "webp lossy": Sample(data=coded(imagecodecs.webp_encode, rgb, level=80, lossless=False)),
        "webp lossy alpha": Sample(data=coded(imagecodecs.webp_encode, rgba, level=80, lossless=False), alpha=rgba[..., 3]),
        "webp lossless": sample(lossless, photo(), 8),
        "webp exif": sample(b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body, photo(), 8),
        "webp animated": Sample(data=animated.tobytes()),
        "webp lossless alpha": sample(
            cv2.imencode(".webp", rgba[..., [2, 1, 0, 3]], [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes(),
            rgba.astype(np.int64),
            8,
        ),
    }


def bmp(
    rows: bytes, depth: int, *, coding: int = 0, palette: bytes = b"", masks: Sequence[int] = (), height: int = HEIGHT
) -> bytes:
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
    deep = (photo(10) << [20, 10, 0]).sum(-1)[..., None]
    masks = (0x3FF << 20, 0x3FF << 10, 0x3FF)
    found["bmp 10 bits"] = Sample(data=bmp(bmp_rows(deep, 32), 32, coding=3, masks=masks), refused="10 bits")
    found["bmp 565"] = Sample(data=bmp(bmp_rows(words, 16), 16, coding=3, masks=(0xF800, 0x7E0, 0x1F)))
    return found


@cache
def files() -> dict[str, Sample]:
    """All files by name."""
    return jpegs() | pngs() | webps() | bmps() | tiffs()
