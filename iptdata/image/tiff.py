"""TIFF and BigTIFF: the first image, its strips or tiles decoded one by one (imagecodecs, zlib, lzma, simplejpeg).

Of a tag twice, counts beyond the file, or strips that inflate beyond the size of their rows nothing is allocated.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from iptdata.image import tiff_directory as tags
from iptdata.image.decoded import Decoded, Request, Unusable
from iptdata.image.samples import cmyk_to_rgb, from_samples, row_blocks, to_eight_bits
from iptdata.image.tiff_directory import Directory, read_directory
from iptdata.image.tiff_segments import CODEC_ERRORS, JPEG, Segments, decode_segment

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_REFUSED_COLOURS = {4: "a transparency mask", 8: "CIE Lab", 9: "ICC Lab", 10: "ITU Lab", 32803: "a colour filter array"}
_SAMPLE_FORMATS = {2: "signed {}-bit integer", 3: "float{}", 5: "complex integer", 6: "complex float"}
_ASSOCIATED, _UNASSOCIATED = 1, 2
_SPARE_TILE_PIXELS = 1 << 24
_MAX_OVERLAP = 4
_MAX_SAMPLES = 64


@dataclass(frozen=True, kw_only=True)
class _Image:
    """What the directory says of the pixels.

    Attributes:
        height: Rows.
        width: Columns.
        samples: Samples per pixel.
        photometric: Meaning of the samples.
        planes: 1, or the number of samples where each has strips or tiles of its own.
        segments: How the strips or tiles are coded.
        offsets: Position of each strip or tile, planes one after another.
        sizes: Bytes of each strip or tile.
    """

    height: int
    width: int
    samples: int
    photometric: int
    planes: int
    segments: Segments
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]


def decode_tiff(data: bytes, request: Request) -> Decoded:
    """Decode the first image of a TIFF.

    Raises:
        Unusable: See `iptdata.image.decode.decode`.
    """
    directory = read_directory(data)
    image = _read_image(data, directory, request)
    pixels = np.zeros((image.height, image.width, image.samples), np.uint16 if image.segments.bits == 16 else np.uint8)
    damages = [damage for damage in _fill(pixels, data, image, request) if damage]
    damage = f"{damages[0]}; {len(damages)} of {len(image.offsets)} strips or tiles are damaged" if damages else None
    return _colours(pixels, image, directory, damage, request)


def _read_image(data: bytes, directory: Directory, request: Request) -> _Image:
    """Check the directory: sizes, sample types, colours, and the cost of the strips or tiles."""
    height, width = directory.one(tags.HEIGHT), directory.one(tags.WIDTH)
    request.check_size(height, width)
    samples = directory.one(tags.SAMPLES, 1)
    bits = _sample_bits(directory)
    photometric = directory.one(tags.PHOTOMETRIC)
    _check_colours(directory, photometric, samples, bits)
    if directory.one(tags.DEPTH, 1) != 1:
        raise Unusable("unreadable", "found a TIFF of several slices, expected an image")
    planar = directory.one(tags.PLANAR, 1) == 2 and samples > 1
    tiled = tags.TILE_WIDTH in directory.tags or tags.TILE_HEIGHT in directory.tags
    if tiled:
        rows, columns = directory.one(tags.TILE_HEIGHT), directory.one(tags.TILE_WIDTH)
    else:
        rows, columns = min(directory.one(tags.ROWS_PER_STRIP, height), height), width
    if rows < 1 or columns < 1:
        raise Unusable("unreadable", f"found a TIFF with strips or tiles of {columns}x{rows} pixels")
    count = -(-height // rows) * -(-width // columns)
    if rows * columns * count > 4 * height * width + _SPARE_TILE_PIXELS:
        raise Unusable("too many pixels", f"tiles of {columns}x{rows} for an image of {width}x{height}")
    planes = samples if planar else 1
    offsets, sizes = _positions(data, directory, tiled, count * planes)
    segments = Segments(
        compression=directory.one(tags.COMPRESSION, 1),
        rows=rows,
        columns=columns,
        samples=1 if planar else samples,
        bits=bits,
        tiled=tiled,
        byte_order=directory.byte_order,
        predictor=directory.one(tags.PREDICTOR, 1),
        reversed_bits=directory.one(tags.FILL_ORDER, 1) == 2,
        t4_options=directory.one(tags.T4_OPTIONS, 0),
        jpeg_tables=bytes(directory.tags.get(tags.JPEG_TABLES, ())),
        ycbcr=photometric == _YCBCR,
        count=count * planes,
    )
    segments.check()
    converted = 0 if (photometric, samples, bits) == (_RGB, 3, 8) else 3
    request.check_size(height, width, height * width * (samples * (2 if bits == 16 else 1) + converted) + segments.held)
    return _Image(
        height=height,
        width=width,
        samples=samples,
        photometric=photometric,
        planes=planes,
        segments=segments,
        offsets=offsets,
        sizes=sizes,
    )


def _sample_bits(directory: Directory) -> int:
    bits, kind = directory.alike(tags.BITS, 1), directory.alike(tags.SAMPLE_FORMAT, 1)
    if kind in _SAMPLE_FORMATS:
        raise Unusable("unreadable", f"found {_SAMPLE_FORMATS[kind].format(bits)} samples, expected 1 to 16 bits, unsigned")
    if bits not in (1, 2, 4, 8, 16):
        text = f"{bits}-bit integer" if bits in (32, 64) else f"{bits}-bit"
        raise Unusable("unreadable", f"found {text} samples, expected 1, 2, 4, 8 or 16 bits")
    return bits


def _check_colours(directory: Directory, photometric: int, samples: int, bits: int) -> None:
    if photometric not in _COLOURS:
        found = _REFUSED_COLOURS.get(photometric, f"photometric interpretation {photometric}")
        raise Unusable("unreadable", f"found a TIFF of {found}, expected grey, palette, RGB, CMYK or YCbCr")
    if not _COLOURS[photometric] <= samples <= _MAX_SAMPLES:
        raise Unusable(
            "unreadable", f"found a TIFF of {samples} samples per pixel, expected {_COLOURS[photometric]} to {_MAX_SAMPLES}"
        )
    if photometric == _YCBCR and directory.one(tags.COMPRESSION, 1) != JPEG:
        raise Unusable("unreadable", "found a TIFF of YCbCr without JPEG compression, expected RGB")
    if photometric == _CMYK and directory.one(tags.INK_SET, 1) != 1:
        raise Unusable("unreadable", "found a TIFF of other inks than CMYK")
    if photometric == _PALETTE and len(directory.tags.get(tags.COLOR_MAP, ())) != 3 << bits:
        raise Unusable("unreadable", f"found a TIFF of {len(directory.tags.get(tags.COLOR_MAP, ()))} values in its palette")


def _positions(data: bytes, directory: Directory, tiled: bool, count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Offsets and sizes of the strips or tiles."""
    if count > tags.MAX_SEGMENTS:
        raise Unusable("unreadable", f"found a TIFF of {count:,} strips or tiles, expected at most {tags.MAX_SEGMENTS:,}")
    offsets = directory.tags.get(tags.TILE_OFFSETS if tiled else tags.STRIP_OFFSETS, ())
    sizes = directory.tags.get(tags.TILE_BYTES if tiled else tags.STRIP_BYTES, ())
    if not sizes and len(offsets) == 1:  # old writers leave the size of a single strip out
        sizes = (max(0, len(data) - offsets[0]),)
    if len(offsets) < count or len(sizes) < count:
        raise Unusable("unreadable", f"found a TIFF of {min(len(offsets), len(sizes)):,} strips or tiles, expected {count:,}")
    if sum(min(size, len(data)) for size in sizes[:count]) > _MAX_OVERLAP * len(data):
        raise Unusable("unreadable", "found a TIFF whose strips or tiles lie on one another")
    return offsets[:count], sizes[:count]


def _fill(pixels: np.ndarray, data: bytes, image: _Image, request: Request) -> Iterator[str | None]:
    """Decode all strips or tiles into `pixels`, and yield what is wrong with each."""
    segments, view = image.segments, memoryview(data)
    across = -(-image.width // segments.columns)
    per_plane = across * -(-image.height // segments.rows)
    for index, (offset, size) in enumerate(zip(image.offsets, image.sizes, strict=True)):
        plane, place = divmod(index, per_plane)
        top, left = place // across * segments.rows, place % across * segments.columns
        rows = segments.rows if segments.tiled else min(segments.rows, image.height - top)
        damage = None
        if size == 0 or offset + size > len(data):
            damage = f"strip or tile {index} of {size:,} bytes ends outside the file"
            request.check_damage(damage)
        try:
            part, problem = decode_segment(view[offset : offset + size], rows, segments, request)
        except CODEC_ERRORS as error:
            part, problem = None, f"{type(error).__name__}: {error}"
        problem = damage or (problem and f"strip or tile {index}: {problem}")
        request.check_damage(problem)
        if part is not None:
            target = pixels[top : top + rows, left : left + segments.columns]
            target = target[..., plane : plane + 1] if image.planes > 1 else target
            target[...] = part[: target.shape[0], : target.shape[1]]
        yield problem


def _colours(pixels: np.ndarray, image: _Image, directory: Directory, damage: str | None, request: Request) -> Decoded:
    """Convert samples to RGB."""
    colours, bits = _COLOURS[image.photometric], image.segments.bits
    alpha, associated = _alpha(pixels, colours, bits, directory)
    wanted = alpha if request.with_alpha else None
    if image.photometric == _PALETTE:
        palette = _palette(np.array(directory.tags[tags.COLOR_MAP], np.uint16).reshape(3, -1).T)
        return Decoded(palette[pixels[..., 0]], damage, bits=max(8, bits), alpha=wanted)
    if image.photometric == _CMYK:
        return Decoded(cmyk_to_rgb(to_eight_bits(pixels[..., :4])), damage, bits=max(8, bits), alpha=wanted)
    used = np.ascontiguousarray(pixels[..., :colours])
    if bits < 8:
        used *= 255 // ((1 << bits) - 1)
    if image.photometric == _WHITE_IS_ZERO:
        np.invert(used, out=used)
    decoded = from_samples(used, damage, with_alpha=False)
    if associated and alpha is not None:
        _unpremultiply(decoded.pixels, alpha)
    return replace(decoded, alpha=wanted)


def _palette(colours: np.ndarray) -> np.ndarray:
    """The colours as uint8. Many writers store 8 bits in their 16: in the low byte, or in the high one with zeros after it."""
    if colours.max() <= 255:
        return colours.astype(np.uint8)
    if not (colours & 255).any():
        return (colours >> 8).astype(np.uint8)
    return to_eight_bits(colours)


def _alpha(pixels: np.ndarray, colours: int, bits: int, directory: Directory) -> tuple[np.ndarray | None, bool]:
    """The alpha channel as uint8, and whether colours are multiplied by it."""
    extra = directory.tags.get(tags.EXTRA_SAMPLES)
    if pixels.shape[2] == colours:
        return None, False
    if extra is None:  # many writers of RGBA leave the tag out
        extra = (_UNASSOCIATED,) if pixels.shape[2] == colours + 1 else (0,)
    channel = next((index for index, kind in enumerate(extra) if kind in (_ASSOCIATED, _UNASSOCIATED)), None)
    if channel is None or colours + channel >= pixels.shape[2]:
        return None, False
    alpha = np.ascontiguousarray(pixels[..., colours + channel])
    if bits < 8:
        alpha *= 255 // ((1 << bits) - 1)
    return to_eight_bits(alpha), extra[channel] == _ASSOCIATED


def _unpremultiply(pixels: np.ndarray, alpha: np.ndarray) -> None:
    """Divide colours by alpha in place, rounded; where alpha is 0 they are left as they are."""
    for rows in row_blocks(pixels):
        divisor = np.maximum(alpha[rows, :, None].astype(np.int32), 1)
        divided = np.minimum((pixels[rows].astype(np.int32) * 255 + divisor // 2) // divisor, 255)
        cv2.copyTo(divided.astype(np.uint8), (alpha[rows] > 0).astype(np.uint8), pixels[rows])
