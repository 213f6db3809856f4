"""Pictures: what tifffile and Pillow themselves write is read value for value, and shown right."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import medgym
import medgym.imaging.pictures.study
from medgym.errors import UserError

rng = np.random.default_rng(0)
SHAPE = (6, 8)


def values(path: Path, index: int = 0) -> np.ndarray:
    study = medgym.open_study(path)
    return study.values(next(iter(study.planes)), index)


def greys(path: Path) -> np.ndarray:
    study = medgym.open_study(path)
    return np.asarray(study.show("image", 0))


def spread(pixels: np.ndarray) -> np.ndarray:
    """From the least to the greatest as 0 to 255."""
    exact = pixels.astype(np.float64)
    return np.rint((exact - exact.min()) / (exact.max() - exact.min()) * 255)


KINDS: dict[str, np.ndarray] = {
    "uint16": rng.integers(0, 4096, SHAPE).astype(np.uint16),
    "int16": rng.integers(-2000, 2000, SHAPE).astype(np.int16),
    "int8": rng.integers(-100, 100, SHAPE).astype(np.int8),
    "int32": rng.integers(-2000, 2000, SHAPE).astype(np.int32),
    "uint32 across 2^31": (2**31 - 32 + rng.integers(0, 64, SHAPE)).astype(np.uint32),
    "uint64": rng.integers(0, 4096, SHAPE).astype(np.uint64),
    "float16": rng.normal(0, 9, SHAPE).astype(np.float16),
    "float32": rng.normal(0, 9, SHAPE).astype(np.float32),
    "float64": (rng.integers(0, 64, SHAPE) + 1e9).astype(np.float64),
}


@pytest.mark.parametrize("white", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [{}, {"byteorder": ">"}, {"compression": "zlib"}])
def test_grey_of_any_type_is_read_and_shown(
    tmp_path: Path, kind: str, how: dict[str, Any], white: bool
) -> None:
    pixels = KINDS[kind]
    photometric = "miniswhite" if white else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=photometric, **how)
    assert np.array_equal(values(tmp_path / "a.tif"), pixels.astype(np.float32))
    want = spread(pixels)
    shown = greys(tmp_path / "a.tif")
    assert np.array_equal(shown[..., 0], 255 - want if white else want)


def test_white_is_zero_of_eight_bits_is_like_the_others(tmp_path: Path) -> None:
    pixels = rng.integers(0, 200, SHAPE, dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite")
    assert np.array_equal(values(tmp_path / "a.tif"), pixels)
    assert np.array_equal(greys(tmp_path / "a.tif")[..., 0], 255 - pixels)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("white", [False, True])
def test_what_only_pillow_decompresses_is_read(tmp_path: Path, dtype: Any, white: bool) -> None:
    pixels = rng.integers(0, 4096, SHAPE).astype(dtype)
    tags = {262: 0} if white else {}
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a.tif", compression="tiff_lzw", tiffinfo=tags)
    if white and dtype == np.int32:  # Pillow reads no such file
        with pytest.raises(UserError, match="a TIFF file of a kind"):
            values(tmp_path / "a.tif")
        return
    assert np.array_equal(values(tmp_path / "a.tif"), pixels)
    want = spread(pixels)
    assert np.array_equal(greys(tmp_path / "a.tif")[..., 0], 255 - want if white else want)


COLOURS = rng.integers(0, 4096, (*SHAPE, 4), dtype=np.uint16)


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}, {"planarconfig": "separate"}])
def test_sixteen_bits_of_colour_are_windowed(
    tmp_path: Path, samples: int, how: dict[str, Any]
) -> None:
    pixels = COLOURS[..., :samples]
    given = np.moveaxis(pixels, -1, 0) if "planarconfig" in how else pixels
    extra = {"extrasamples": ["unassalpha"]} if samples == 4 else {}
    tifffile.imwrite(tmp_path / "a.tif", given, photometric="rgb", **how, **extra)
    assert np.array_equal(values(tmp_path / "a.tif"), pixels[..., :3])
    assert np.array_equal(greys(tmp_path / "a.tif"), spread(pixels[..., :3]))


def test_sixteen_bits_of_colour_that_only_pillow_decompresses_are_read(tmp_path: Path) -> None:
    """LZW knows bytes only, so Pillow's own strip of bytes is that of the colours too."""
    pixels = COLOURS[..., :3].copy()
    packed = io.BytesIO()
    plain = Image.fromarray(pixels.view(np.uint8).reshape(SHAPE[0], -1))
    plain.save(packed, "TIFF", compression="tiff_lzw")
    packed.seek(0)
    with tifffile.TiffFile(packed) as file:
        (start,), (length,) = file.pages[0].dataoffsets, file.pages[0].databytecounts
    strip = packed.getvalue()[start : start + length]
    tifffile.imwrite(
        tmp_path / "a.tif", iter([strip]), shape=pixels.shape, dtype=np.uint16, photometric="rgb",
        compression="zlib", rowsperstrip=SHAPE[0],
    )  # fmt: skip
    data = (tmp_path / "a.tif").read_bytes()
    deflated, lzw = (struct.pack("<HHLHH", 259, 3, 1, how, 0) for how in (8, 5))
    assert data.count(deflated) == 1
    (tmp_path / "a.tif").write_bytes(data.replace(deflated, lzw))
    assert np.array_equal(values(tmp_path / "a.tif"), pixels)
    assert np.array_equal(greys(tmp_path / "a.tif"), spread(pixels))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png16(pixels: np.ndarray, kind: int) -> bytes:
    """A PNG of 16 bits whose rows are filtered in turns: not at all, by the left, by the above."""
    height, width, samples = pixels.shape
    rows = pixels.astype(">u2").view(np.uint8).reshape(height, -1)
    step, lines = 2 * samples, []
    for y in range(height):
        left = np.concatenate([np.zeros(step, np.uint8), rows[y, :-step]])
        above = rows[y - 1] if y else np.zeros_like(rows[0])
        away = (np.zeros_like(left), left, above)[y % 3]
        lines.append(bytes([y % 3]) + (rows[y] - away).tobytes())
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*each)
        for each in ((b"IHDR", head), (b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b""))
    )


@pytest.mark.parametrize(("kind", "samples"), [(0, 1), (4, 2), (2, 3), (6, 4)])
def test_a_png_of_sixteen_bits_keeps_them(tmp_path: Path, kind: int, samples: int) -> None:
    pixels = COLOURS[..., :samples]
    (tmp_path / "a.png").write_bytes(png16(pixels, kind))
    want = pixels[..., 0] if samples < 3 else pixels[..., :3]
    assert np.array_equal(values(tmp_path / "a.png"), want)
    shown = greys(tmp_path / "a.png")
    assert np.array_equal(shown[..., 0] if want.ndim == 2 else shown, spread(want))


@pytest.mark.parametrize("deep", [False, True])
def test_a_palette_of_a_tiff_becomes_its_colours(tmp_path: Path, deep: bool) -> None:
    dtype = np.uint16 if deep else np.uint8
    colours = rng.integers(0, 256, (3, 2**16 if deep else 256), dtype=np.uint16)
    pixels = rng.integers(0, 256, SHAPE).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="palette", colormap=colours << 8)
    assert np.array_equal(values(tmp_path / "a.tif"), colours.T[pixels])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["TIFF", "PNG", "JPEG", "WEBP"])
def test_an_orientation_is_applied_in_no_format(
    tmp_path: Path, form: str, orientation: int
) -> None:
    """Boxes are in the pixels that the file stores."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.kron(np.arange(0, 240, 5, dtype=np.uint8).reshape(6, 8), np.ones((8, 8), np.uint8))
    Image.fromarray(pixels).save(tmp_path / "a", form, exif=exif)
    study = medgym.open_study(tmp_path / "a")
    assert study.planes["image"].size == (64, 48)
    got = study.values("image", 0)
    assert np.abs((got if got.ndim == 2 else got[..., 0]) - pixels).max() <= 6


@pytest.mark.parametrize("form", ["BMP", "WEBP"])
def test_bmp_and_webp_are_read(tmp_path: Path, form: str) -> None:
    pixels = rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a", form, lossless=True)
    assert np.array_equal(values(tmp_path / "a"), pixels)
    assert np.array_equal(greys(tmp_path / "a"), pixels)


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("exif", [False, True])
def test_a_webp_bomb_is_refused_by_its_header(tmp_path: Path, lossless: bool, exif: bool) -> None:
    tags = Image.Exif()
    tags[0x0112] = 1
    buffer = io.BytesIO()
    picture = Image.new("RGB", (300, 200))
    picture.save(buffer, "WEBP", lossless=lossless, **({"exif": tags} if exif else {}))
    data = buffer.getvalue()
    (tmp_path / "a").write_bytes(data)
    assert medgym.open_study(tmp_path / "a").planes["image"].size == (300, 200)
    kind = data[12:16]
    wrong = bytearray(data)
    if kind == b"VP8X":
        wrong[24:30] = b"\xff\x3e\0\xff\x3e\0"
    elif kind == b"VP8L":
        wrong[21:25] = (0x3EFF | 0x3EFF << 14).to_bytes(4, "little")
    else:
        wrong[26:30] = b"\xff\x3e\xff\x3e"
    (tmp_path / "a").write_bytes(bytes(wrong))
    with pytest.raises(UserError, match="has more than 178,956,970 pixels"):
        medgym.open_study(tmp_path / "a")


def test_pages_are_frames_and_those_of_several_sizes_planes(tmp_path: Path) -> None:
    pages = rng.integers(0, 4096, (3, *SHAPE), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    study = medgym.open_study(tmp_path / "a.tif")
    assert study.planes == {"frame": medgym.Plane(3, (8, 6))}
    assert np.array_equal(study.values("frame", 2), pages[2])
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        for side in (4, 6):
            writer.write(pages[0, :side, :side], photometric="minisblack", metadata=None)
    study = medgym.open_study(tmp_path / "b.tif")
    assert list(study.planes) == ["frame 0", "frame 1"]
    assert np.array_equal(study.values("frame 1", 0), pages[0, :6, :6])


def test_a_page_that_inflates_too_far_is_refused(tmp_path: Path) -> None:
    strip = zlib.compress(bytes(10**7))
    tifffile.imwrite(
        tmp_path / "a.tif", iter([strip]), shape=SHAPE, dtype=np.uint16, photometric="minisblack",
        compression="zlib", rowsperstrip=SHAPE[0],
    )  # fmt: skip
    with pytest.raises(UserError, match="inflates to more than its header says"):
        values(tmp_path / "a.tif")


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}, {"rowsperstrip": 2}])
def test_a_page_without_all_its_pixels_is_cut_off(tmp_path: Path, how: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones(SHAPE, np.uint8), photometric="minisblack", **how)
    data = (tmp_path / "a.tif").read_bytes()
    height, taller = (struct.pack("<HHLL", 257, 4, 1, rows) for rows in (SHAPE[0], 10**6))
    short = struct.pack("<HHLHH", 257, 3, 1, SHAPE[0], 0)
    assert data.count(height) + data.count(short) == 1
    (tmp_path / "a.tif").write_bytes(data.replace(height, taller).replace(short, taller))
    with pytest.raises(UserError, match="is cut off within its pixels"):
        values(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("pixels", "how", "said"),
    [
        (np.zeros(SHAPE, np.complex64), {}, "a TIFF file of a kind"),
        (np.full(SHAPE, 2**60, np.uint64), {}, "2\\^53"),
        (np.zeros((*SHAPE, 5), np.uint16), {"planarconfig": "contig"}, "a TIFF file of a kind"),
        (np.zeros((*SHAPE, 3), np.uint16), {"planarconfig": "contig"}, "channels that are no"),
    ],
)  # fmt: skip
def test_a_tiff_that_is_no_picture_is_refused_by_name(
    tmp_path: Path, pixels: Any, how: dict[str, Any], said: str
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", **how)
    with pytest.raises(UserError, match=said):
        values(tmp_path / "a.tif")


def test_what_a_source_draws_is_a_study() -> None:
    study = medgym.open_study("phantom:train/ct/512/1")
    assert study.planes["image"].size == (512, 512)
    assert study.planes["image"].spacing_origin == "patient"
    drawn = study.image("image", 0)
    assert np.array_equal(study.values("image", 0, (3, 4, 9, 8)), drawn.pixels[4:8, 3:9])
    assert study.show("image", 0, size=(448, 448)) == drawn.render((0, 0, 512, 512), (448, 448))


def test_a_picture_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(medgym.imaging.pictures.study, "HELD", 0)
    path = tmp_path / "a.png"
    Image.new("L", (8, 8)).save(path)
    study = medgym.open_study(path)
    Image.new("L", (9, 9)).save(path)
    for read in (lambda: study.planes, lambda: study.image("image", 0)):
        with pytest.raises(UserError, match="changed while it was read; fix: open it again"):
            read()


@pytest.mark.parametrize("kind", ["png", "gif", "tif"])
def test_a_small_file_is_read_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    pages = [Image.new("L", (8, 8), grey) for grey in (1, 2)]
    pages[0].save(path, **({} if kind == "png" else {"save_all": True, "append_images": pages[1:]}))
    study = medgym.open_study(path)
    path.unlink()
    (name,) = study.planes
    last = study.planes[name].count - 1
    assert (study.values(name, last) == 1 + last).all()
