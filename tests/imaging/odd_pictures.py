"""Pictures of odd forms, written by Pillow, by tifffile and by hand, with the values they hold."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tifffile
from PIL import Image

Made = tuple[bytes, np.ndarray]
"""A file, and the values that it stores."""

_rng = np.random.default_rng(0)
_ramp = np.add.outer(np.arange(24) * 4, np.arange(32) * 4)
GREY = _ramp.astype(np.uint8)
"""Smooth, so that what loses little of a picture loses little of this one."""

COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)
DEEP = _rng.integers(0, 4096, GREY.shape).astype(np.uint16)
DEEP_COLOUR = _rng.integers(0, 4096, (*GREY.shape, 3)).astype(np.uint16)
BITS = _rng.random(GREY.shape) < 0.5
ALPHA = _rng.integers(0, 256, GREY.shape).astype(np.uint8)


def pillow(pixels: Any, form: str, mode: str | None = None, **how: Any) -> Made:
    """What Pillow writes without loss."""
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture = picture if mode is None else picture.convert(mode)
    stream = io.BytesIO()
    picture.save(stream, form, **how)
    return stream.getvalue(), _values(picture)


def lossy(pixels: Any, form: str, mode: str | None = None, **how: Any) -> Made:
    """What Pillow writes with loss: the values are those that Pillow reads."""
    data, _ = pillow(pixels, form, mode, **how)
    with Image.open(io.BytesIO(data)) as picture:
        return data, _values(picture)


def _values(picture: Image.Image) -> np.ndarray:
    if picture.mode in ("1", "LA"):
        return np.asarray(picture.convert("L"))
    if picture.mode in ("P", "RGBA", "CMYK", "YCbCr", "LAB"):
        return np.asarray(picture.convert("RGB"))
    return np.asarray(picture)


def tiff(pixels: np.ndarray, shown: np.ndarray | None = None, **how: Any) -> Made:
    """What tifffile writes."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **{"photometric": "minisblack", **how})
    return stream.getvalue(), pixels if shown is None else shown


def animated(form: str) -> Made:
    """Two pictures, of which the first is shown."""
    first, second = Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)
    stream = io.BytesIO()
    extra = {"lossless": True} if form == "WEBP" else {}
    first.save(stream, form, save_all=True, append_images=[second], **extra)
    if form == "GIF":  # which has 256 colours
        with Image.open(stream) as picture:
            return stream.getvalue(), _values(picture)
    return stream.getvalue(), COLOUR


def png(
    pixels: np.ndarray, kind: int, bits: int, *, interlaced: bool = False, extra: bytes = b""
) -> Made:
    """A PNG of rows that are not filtered. `pixels` is (height, width, samples)."""
    height, width, samples = pixels.shape
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2),
                  (0, 1, 2, 2), (1, 0, 2, 1)]  # fmt: skip
    lines = []
    for top, left, down, across in passes:
        part = pixels[top::down, left::across]
        for row in part if part.size else ():
            whole = row.astype(">u2" if bits == 16 else np.uint8).tobytes()
            lines.append(b"\0" + whole)
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlaced)
    data = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + extra
    data += _chunk(b"IDAT", zlib.compress(b"".join(lines))) + _chunk(b"IEND", b"")
    if samples < 3:
        return data, pixels[..., 0]
    return data, pixels[..., :3]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_palette(bits: int) -> Image.Image:
    """A picture of a palette of so many bits."""
    return Image.fromarray(COLOUR).quantize(2**bits)


def planar(pixels: np.ndarray, **how: Any) -> Made:
    """Colours one after the other."""
    planes = np.moveaxis(pixels, -1, 0)
    return tiff(planes, pixels, photometric="rgb", planarconfig="separate", **how)


def pages(*each: np.ndarray) -> Made:
    """A TIFF of several pages, of which the first is compared."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for page in each:
            writer.write(page, photometric="minisblack", metadata=None)
    return stream.getvalue(), each[0]


def pyramid() -> Made:
    """A TIFF whose smaller copy is below its page."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(DEEP, photometric="minisblack", subifds=1)
        writer.write(DEEP[::2, ::2], photometric="minisblack", subfiletype=1)
    return stream.getvalue(), DEEP


def patched(made: Made, shown: np.ndarray, **tags: int) -> Made:
    """A little endian TIFF with other numbers in its first page."""
    data = bytearray(made[0])
    with tifffile.TiffFile(io.BytesIO(made[0])) as file:
        for name, value in tags.items():
            tag = file.pages[0].tags[name]
            struct.pack_into("<H" if tag.dtype == 3 else "<L", data, tag.valueoffset, value)
    return bytes(data), shown


def packed(bits: int) -> Made:
    """A TIFF whose values have 2, 4 or 12 bits, one behind the other."""
    values = DEEP % 2**bits
    each = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(-1, 2), axis=1)[:, 16 - bits :]
    rows = np.packbits(each.reshape(len(values), -1), axis=1)
    width = values.shape[1]
    shown = values if bits > 8 else values * (255 // (2**bits - 1))
    return patched(tiff(rows), shown, ImageWidth=width, BitsPerSample=bits)


def backwards(pixels: np.ndarray) -> Made:
    """A TIFF with the bits of each byte in the other order: its FillOrder is 2."""
    bits = np.unpackbits(pixels.view(np.uint8).reshape(len(pixels), -1)).reshape(-1, 8)
    turned = np.packbits(bits[:, ::-1], axis=1).ravel().view(pixels.dtype).reshape(pixels.shape)
    data, _ = patched(tiff(turned), pixels, ResolutionUnit=2)
    unit, order = struct.pack("<HHL", 296, 3, 1), struct.pack("<HHL", 266, 3, 1)
    assert data.count(unit) == 1
    return data.replace(unit, order), pixels


def lab() -> Made:
    """Colours that Pillow converts: a red of CIELAB."""
    pixels = np.broadcast_to(np.array([136, 80, 67], np.uint8), COLOUR.shape)
    data, _ = tiff(pixels, photometric="cielab")
    with Image.open(io.BytesIO(data)) as picture:
        return data, _values(picture)


_TURNED = Image.Exif()
_TURNED[0x0112] = 6
_TRNS16 = _chunk(b"tRNS", struct.pack(">H", int(DEEP[0, 0])))
_TRNS48 = _chunk(b"tRNS", DEEP_COLOUR[0, 0].astype(">u2").tobytes())
_TILE = {"tile": (16, 16)}

FORMS: dict[str, Callable[[], Made]] = {
    "PNG, 1 bit": lambda: pillow(BITS, "PNG"),
    "PNG, grey": lambda: pillow(GREY, "PNG"),
    "PNG, grey with alpha": lambda: pillow(np.dstack([GREY, ALPHA]), "PNG"),
    "PNG, palette of 2 bits": lambda: pillow(with_palette(2), "PNG", bits=2),
    "PNG, palette with transparency": lambda: pillow(with_palette(8), "PNG", transparency=3),
    "PNG, colours with alpha": lambda: pillow(np.dstack([COLOUR, ALPHA]), "PNG"),
    "PNG, interlaced": lambda: png(COLOUR, 2, 8, interlaced=True),
    "PNG, 16 bits": lambda: pillow(DEEP, "PNG"),
    "PNG, 16 bits, a transparent value": lambda: png(DEEP[..., None], 0, 16, extra=_TRNS16),
    "PNG, 16 bits, alpha": lambda: png(np.dstack([DEEP, DEEP[::-1]]), 4, 16),
    "PNG, 16 bits, interlaced": lambda: png(DEEP[..., None], 0, 16, interlaced=True),
    "PNG, 16 bits of colour": lambda: png(DEEP_COLOUR, 2, 16),
    "PNG, 16 bits of colour, a transparent one": lambda: png(DEEP_COLOUR, 2, 16, extra=_TRNS48),
    "PNG, 16 bits of colour, interlaced": lambda: png(DEEP_COLOUR, 2, 16, interlaced=True),
    "PNG, animated": lambda: animated("PNG"),
    "PNG, EXIF orientation": lambda: pillow(COLOUR, "PNG", exif=_TURNED),
    "JPEG, grey": lambda: lossy(GREY, "JPEG"),
    "JPEG, colours 4:2:0, progressive": lambda: lossy(COLOUR, "JPEG", progressive=True),
    "JPEG, colours stored as RGB": lambda: lossy(COLOUR, "JPEG", keep_rgb=True),
    "JPEG, CMYK": lambda: lossy(COLOUR, "JPEG", "CMYK"),
    "JPEG, EXIF orientation": lambda: lossy(COLOUR, "JPEG", exif=_TURNED),
    "BMP, 1 bit": lambda: pillow(BITS, "BMP"),
    "BMP, palette": lambda: pillow(with_palette(8), "BMP"),
    "BMP, colours with alpha": lambda: pillow(np.dstack([COLOUR, ALPHA]), "BMP"),
    "WebP, lossless": lambda: pillow(COLOUR, "WEBP", lossless=True),
    "WebP, lossy, alpha": lambda: lossy(np.dstack([COLOUR, ALPHA]), "WEBP"),
    "WebP, animated": lambda: animated("WEBP"),
    "GIF": lambda: pillow(with_palette(8), "GIF"),
    "GIF, animated": lambda: animated("GIF"),
    "JPEG 2000": lambda: pillow(GREY, "JPEG2000"),
    "TIFF, 1 bit, black is zero": lambda: pillow(BITS, "TIFF"),
    "TIFF, 1 bit, fax group 3": lambda: pillow(BITS, "TIFF", compression="group3"),
    "TIFF, 1 bit, fax group 4": lambda: pillow(BITS, "TIFF", compression="group4"),
    "TIFF, 1 bit, zero is white": lambda: pillow(BITS, "TIFF", tiffinfo={262: 0}),
    "TIFF, white is zero": lambda: tiff(GREY, photometric="miniswhite"),
    "TIFF, 16 bits, white is zero": lambda: tiff(DEEP, photometric="miniswhite"),
    "TIFF, float32, white is zero": lambda: tiff(
        DEEP.astype(np.float32), photometric="miniswhite"
    ),
    "TIFF, LZW": lambda: pillow(GREY, "TIFF", compression="tiff_lzw"),
    "TIFF, LZW with differences": lambda: pillow(
        GREY, "TIFF", compression="tiff_lzw", tiffinfo={317: 2}
    ),
    "TIFF, 16 bits, LZW": lambda: pillow(DEEP, "TIFF", compression="tiff_lzw"),
    "TIFF, 16 bits, LZW with differences": lambda: pillow(
        DEEP, "TIFF", compression="tiff_lzw", tiffinfo={317: 2}
    ),
    "TIFF, PackBits": lambda: pillow(GREY, "TIFF", compression="packbits"),
    "TIFF, 16 bits, PackBits": lambda: pillow(DEEP, "TIFF", compression="packbits"),
    "TIFF, deflate": lambda: tiff(GREY, compression="zlib"),
    "TIFF, 16 bits, deflate": lambda: tiff(DEEP, compression="zlib"),
    "TIFF, 16 bits, deflate with differences": lambda: pillow(
        DEEP, "TIFF", compression="tiff_adobe_deflate", tiffinfo={317: 2}
    ),
    "TIFF, LZMA": lambda: tiff(GREY, compression="lzma"),
    "TIFF, Zstandard": lambda: pillow(GREY, "TIFF", compression="zstd"),
    "TIFF, JPEG": lambda: lossy(GREY, "TIFF", compression="jpeg"),
    "TIFF, JPEG, YCbCr": lambda: lossy(COLOUR, "TIFF", compression="jpeg"),
    "TIFF, YCbCr": lambda: lossy(COLOUR, "TIFF", "YCbCr"),
    "TIFF, CMYK": lambda: pillow(COLOUR, "TIFF", "CMYK"),
    "TIFF, CIELAB": lab,
    "TIFF, 2 bits": lambda: packed(2),
    "TIFF, 4 bits": lambda: packed(4),
    "TIFF, 12 bits": lambda: packed(12),
    "TIFF, the bits of each byte backwards": lambda: backwards(GREY),
    "TIFF, 16 bits, the bits of each byte backwards": lambda: backwards(DEEP),
    "TIFF, palette": lambda: pillow(with_palette(8), "TIFF"),
    "TIFF, palette, LZW": lambda: pillow(with_palette(8), "TIFF", compression="tiff_lzw"),
    "TIFF, colours": lambda: tiff(COLOUR, photometric="rgb"),
    "TIFF, colours, planar": lambda: planar(COLOUR),
    "TIFF, colours with alpha": lambda: pillow(np.dstack([COLOUR, ALPHA]), "TIFF"),
    "TIFF, colours, tiled": lambda: tiff(COLOUR, photometric="rgb", **_TILE),
    "TIFF, 16 bits of colour": lambda: tiff(DEEP_COLOUR, photometric="rgb"),
    "TIFF, 16 bits of colour, planar": lambda: planar(DEEP_COLOUR),
    "TIFF, 16 bits of colour, tiled": lambda: tiff(DEEP_COLOUR, photometric="rgb", **_TILE),
    "TIFF, 16 bits of colour, planar, tiled": lambda: planar(DEEP_COLOUR, **_TILE),
    "TIFF, float32 of colour": lambda: tiff(
        DEEP_COLOUR.astype(np.float32) / 4096, photometric="rgb"
    ),
    "TIFF, tiled": lambda: tiff(GREY, **_TILE),
    "TIFF, 16 bits, tiled": lambda: tiff(DEEP, **_TILE),
    "TIFF, 16 bits, big endian": lambda: tiff(DEEP, byteorder=">"),
    "BigTIFF, 16 bits": lambda: tiff(DEEP, bigtiff=True),
    "BigTIFF, 8 bits": lambda: tiff(GREY, bigtiff=True),
    "TIFF, int8": lambda: tiff(GREY.astype(np.int8)),
    "TIFF, int16": lambda: tiff(DEEP.astype(np.int16) - 2000),
    "TIFF, uint32": lambda: tiff(DEEP.astype(np.uint32) + 2**31),
    "TIFF, int32": lambda: tiff(DEEP.astype(np.int32) - 2000),
    "TIFF, uint64": lambda: tiff(DEEP.astype(np.uint64)),
    "TIFF, float16": lambda: tiff(DEEP.astype(np.float16)),
    "TIFF, float32": lambda: tiff(DEEP.astype(np.float32)),
    "TIFF, float64": lambda: tiff(DEEP + 0.1),
    "TIFF, complex": lambda: tiff(DEEP.astype(np.complex64)),
    "TIFF, pages of one size": lambda: pages(DEEP, DEEP[::-1]),
    "TIFF, pages of several sizes": lambda: pages(DEEP, DEEP[:8, :8]),
    "TIFF, a smaller copy below its page": pyramid,
    "TIFF, ImageJ stack": lambda: tiff(np.stack([DEEP, DEEP[::-1]]), DEEP, imagej=True),
    "TIFF, OME, two channels": lambda: tiff(
        np.stack([DEEP, DEEP[::-1]]), DEEP, ome=True, metadata={"axes": "CYX"}
    ),
    "TIFF, several depths in one page": lambda: tiff(
        np.stack([DEEP] * 4), DEEP, volumetric=True, tile=(2, 16, 16)
    ),
    "TIFF, five channels": lambda: tiff(np.stack([DEEP] * 5, axis=-1), planarconfig="contig"),
    "TIFF, two channels, no alpha": lambda: tiff(
        np.stack([DEEP] * 2, axis=-1), planarconfig="contig"
    ),
    "TIFF, orientation": lambda: pillow(GREY, "TIFF", tiffinfo={274: 6}),
    "TIFF, 16 bits, orientation": lambda: tiff(DEEP, extratags=[(274, 3, 1, 6, True)]),
}  # fmt: skip
