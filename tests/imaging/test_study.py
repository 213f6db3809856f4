"""Images: decoded as files say, rendered by area, refused in one line that names the fix."""

import io
import os
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medgym.errors import UserError
from medgym.imaging.limits import MAX_PIXELS
from medgym.imaging.spacing import credible_spacing
from medgym.imaging.study import (
    ImageRef,
    Study,
    Window,
    full_window,
    open_file,
    open_image,
)

rng = np.random.default_rng(0)
GREY = rng.integers(0, 256, (12, 20), dtype=np.uint8)
COLOUR = rng.integers(0, 256, (12, 20, 3), dtype=np.uint8)


def saved(tmp_path: Path, image: Image.Image, name: str, **options: Any) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def shown(study: Study) -> np.ndarray:
    """The whole image, one view pixel for each of its own."""
    return np.asarray(study.render((0, 0, *study.size), study.size))


def refusal(path: Path, frame: int | None = None) -> str:
    """What is said about a file that is refused: one line that names it and a fix."""
    with pytest.raises(UserError) as error:
        open_file(path, frame)
    text = str(error.value)
    assert str(path) in text
    assert "fix: " in text
    assert "\n" not in text
    return text


# Rendering.


@given(st.data())
def test_whole_factors_give_exact_means_of_blocks(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    across, down = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    left, top = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))
    shape: tuple[int, ...] = (top + height * down + 3, left + width * across + 2)
    shape = (*shape, 3) if data.draw(st.booleans()) else shape
    pixels = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 256, shape)
    study = Study(pixels.astype(np.uint8))
    box = (left, top, left + width * across, top + height * down)
    got = study.render(box, (width, height))
    part = Image.fromarray(study.pixels[box[1] : box[3], box[0] : box[2]])
    assert got == part.reduce((across, down)).convert("RGB")
    blocks = pixels[box[1] : box[3], box[0] : box[2]].reshape(height, down, width, across, -1)
    means = np.broadcast_to(blocks.mean((1, 3)), (height, width, 3))
    powers = (across * down) & (across * down - 1) == 0
    assert np.abs(np.asarray(got) - means).max() <= (0.5 if powers else 1) + 1e-9


def test_one_pixel_for_each_is_the_pixels_themselves() -> None:
    assert np.array_equal(shown(Study(COLOUR)), COLOUR)
    assert np.array_equal(shown(Study(GREY))[..., 1], GREY)


def test_an_axis_that_shrinks_is_averaged_even_where_the_other_one_grows() -> None:
    """Stripes along an axis that shrinks by a whole factor average out, and nothing rings."""
    pixels = np.zeros((2, 64), np.uint8)
    pixels[:, ::2] = 200
    got = np.asarray(Study(pixels).render((0, 0, 64, 2), (8, 8)))
    assert (got == 100).all()
    turned = Study(pixels.T.copy())
    assert (np.asarray(turned.render((0, 0, 2, 64), (8, 8))) == 100).all()
    averaged = Image.fromarray(pixels[:1]).resize((9, 1), Image.Resampling.BOX, (0, 0, 61, 1))
    want = np.asarray(averaged)[0]
    assert (np.asarray(Study(pixels).render((0, 0, 61, 2), (9, 8)))[..., 0] == want).all()
    down = np.asarray(turned.render((0, 0, 2, 61), (8, 9)))[..., 0]
    assert (down == want[:, None]).all()


@given(st.tuples(*[st.floats(0, 12)] * 4), st.tuples(st.integers(1, 30), st.integers(1, 30)))
def test_any_box_renders_at_any_size(edges: Any, size: Any) -> None:
    x, y = sorted(edges[:2]), sorted(edges[2:])
    if x[1] - x[0] < 0.01 or y[1] - y[0] < 0.01:
        return
    got = Study(GREY).render((x[0], y[0], x[1], y[1]), size)
    assert got.size == size
    assert got.mode == "RGB"


def test_nothing_leaks_into_a_view_from_outside_its_box() -> None:
    other = GREY.copy()
    other[:, :4] = other[:, 12:] = 255 - other[:, :1]
    for size in ((4, 6), (8, 12), (3, 5), (40, 60)):
        box = (4, 0, 12, 12)
        assert Study(GREY.copy()).render(box, size) == Study(other.copy()).render(box, size)


def test_a_window_maps_its_ends_to_black_and_white() -> None:
    values = np.array([[-1000, 0, 50, 100, 3000]], np.float32)
    study = Study(values, window=Window(50, 100))
    assert shown(study)[0, :, 0].tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize(
    ("pixels", "window"),
    [
        (np.zeros((0, 4), np.uint8), None),
        (np.zeros(4, np.uint8), None),
        (np.zeros((4, 4, 4), np.uint8), None),
        (np.zeros((2, 4, 4, 3), np.uint8), None),
        (np.zeros((4, 4), np.float32), None),
        (np.zeros((4, 4, 3), np.float32), None),
    ],
)
def test_a_study_of_another_form_is_no_study(pixels: Any, window: Any) -> None:
    with pytest.raises(ValueError, match="pixels"):
        Study(pixels, window=window)


def test_the_pixels_of_a_study_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Study(GREY.copy()).pixels[0, 0] = 1


@pytest.mark.parametrize("array", [GREY.copy(), GREY.copy()[::2, ::-1], np.stack([GREY] * 3, -1)])
def test_no_tool_can_make_the_pixels_of_a_study_writable(array: Any) -> None:
    """All members of a group share them."""
    made = Study(array)
    assert (made.pixels == array).all()
    for study in (made, pickle.loads(pickle.dumps(made))):
        for pixels in (study.pixels, study.pixels[1:], study.pixels.reshape(-1), study.pixels.T):
            if np.shares_memory(pixels, study.pixels):
                with pytest.raises(ValueError, match="WRITEABLE"):
                    pixels.setflags(write=True)


@pytest.mark.parametrize("dtype", [bool, complex, object, "datetime64[s]"])
def test_pixels_are_numbers(dtype: Any) -> None:
    with pytest.raises(ValueError, match="pixels are no numbers"):
        Study(np.zeros((4, 4), dtype), window=Window(0, 1))


@pytest.mark.parametrize(
    "spacing",
    [
        (np.inf, np.inf), (np.nan, 1), (-1, 1), (0, 0), (1e-5, 1), (1, 101), (1,), (1, 1, 1), "ab",
        5, ("1", "x"), None, (10**400, 1),
    ],
)  # fmt: skip
def test_a_spacing_that_cannot_be_is_unknown(spacing: Any) -> None:
    assert credible_spacing(spacing) is None
    assert Study(GREY.copy(), spacing).spacing_mm is None
    assert credible_spacing((1e-4, 100)) == (1e-4, 100.0)


@pytest.mark.parametrize(
    "values", [[np.nan] * 3, [5.0] * 3, [-np.inf, 1, np.inf], [1e30, 0, -1e30]]
)
def test_the_full_window_is_always_a_window(values: list[float]) -> None:
    window = full_window(np.array([values], np.float32))
    assert np.isfinite(window.centre)
    assert window.width > 0


# Pictures.


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.TIF", "a"])
def test_lossless_files_are_read_exactly(tmp_path: Path, name: str) -> None:
    form = "PNG" if "." not in name or name.endswith("png") else "TIFF"
    path = saved(tmp_path, Image.fromarray(COLOUR), name, format=form)
    study = open_image(ImageRef(uri=path.as_uri()))
    assert np.array_equal(study.pixels, COLOUR)
    assert (study.window, study.spacing_mm, study.size) == (None, None, (20, 12))


def test_a_jpeg_is_read_as_pillow_reads_it(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(COLOUR), "a.jpg")
    assert np.array_equal(open_file(path).pixels, np.asarray(Image.open(path)))


@pytest.mark.parametrize("uri", ["file:{}", "file://{}"])
def test_a_name_with_odd_letters_is_found(tmp_path: Path, uri: str) -> None:
    path = saved(tmp_path, Image.fromarray(GREY), "Röntgen 100% #1?.png")
    assert open_image(ImageRef(uri=path.as_uri())).size == (20, 12)
    plain = saved(tmp_path, Image.fromarray(GREY), "Röntgen 1.png")
    assert open_image(ImageRef(uri=uri.format(plain))).size == (20, 12)


def test_relative_paths_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, Image.fromarray(GREY), "a.png")
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(open_image(ImageRef(uri="file:a.png")).pixels, GREY)


def test_sixteen_bits_are_windowed_to_all_that_is_there(tmp_path: Path) -> None:
    values = (GREY.astype(np.uint16) * 200) + 1000
    path = saved(tmp_path, Image.fromarray(values), "a.png")
    study = open_file(path)
    assert study.pixels.dtype == np.float32
    assert np.array_equal(study.pixels, values)
    low, high = int(values.min()), int(values.max())
    assert study.window == Window((low + high) / 2, high - low)
    assert (shown(study).min(), shown(study).max()) == (0, 255)


def test_values_that_are_no_numbers_are_shown_as_the_least(tmp_path: Path) -> None:
    values = np.array([[np.nan, 0.0, 1.0, np.inf, -np.inf]], np.float32)
    study = open_file(saved(tmp_path, Image.fromarray(values), "a.tiff"))
    assert shown(study)[0, :, 0].tolist() == [0, 0, 255, 255, 0]


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F"]
)
def test_every_mode_becomes_grey_or_colour(tmp_path: Path, mode: str) -> None:
    made = Image.fromarray(COLOUR).convert("P" if mode == "PA" else mode).convert(mode)
    form = "tiff" if mode in ("CMYK", "YCbCr", "I", "F", "PA", "LA") else "png"
    try:
        path = saved(tmp_path, made, f"a.{form}")
    except OSError:
        pytest.skip(f"Pillow does not write {mode}")
    study = open_file(path)
    assert study.size == (20, 12)
    assert shown(study).shape == (12, 20, 3)


def test_what_is_transparent_is_shown_all_the_same(tmp_path: Path) -> None:
    veiled = Image.fromarray(COLOUR).convert("RGBA")
    veiled.putalpha(0)
    study = open_file(saved(tmp_path, veiled, "a.png"))
    assert np.array_equal(study.pixels, COLOUR)


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    study = open_file(saved(tmp_path, image, "a.png"))
    assert study.pixels.tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]


def test_an_inverted_jpeg_of_four_inks_is_read_right(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "a.jpg")
    assert (open_file(path).pixels > 250).all()


def test_an_orientation_turns_nothing_so_that_boxes_agree_with_files(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.fromarray(COLOUR), "a.png", exif=exif)
    assert Image.open(path).getexif()[0x0112] == 6
    assert np.array_equal(open_file(path).pixels, COLOUR)


def test_the_pages_of_a_tiff_are_its_frames(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((4, 4 + i), 10 * i, np.uint8)) for i in range(3)]
    path = saved(tmp_path, pages[0], "a.tiff", save_all=True, append_images=pages[1:])
    for page in range(3):
        study = open_image(ImageRef(uri=path.as_uri(), frame=page))
        assert study.size == (4 + page, 4)
        assert (study.pixels == 10 * page).all()
    for frame in (None, 3, -1):
        assert "0..2" in refusal(path, frame)
    assert "0..0" in refusal(saved(tmp_path, pages[0], "b.png"), 1)


def test_a_picture_that_moves_is_its_first_picture(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    path = saved(tmp_path, frames[0], "a.png", save_all=True, append_images=frames[1:])
    assert np.array_equal(open_file(path).pixels, GREY)


# Refusals.


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int) -> bytes:
    """A PNG that says how large it is and holds almost nothing."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [13_400, 16_000, 20_000, 40_000])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_of(side, side))
    assert f"{MAX_PIXELS:,}" in refusal(tmp_path / "bomb.png")


def test_a_bomb_among_pages_is_refused(tmp_path: Path) -> None:
    small, large = Image.new("1", (4, 4)), Image.new("1", (20_000, 10_000))
    path = saved(
        tmp_path, small, "a.tiff", save_all=True, append_images=[large], compression="group4"
    )
    assert open_file(path, 0).size == (4, 4)
    assert f"{MAX_PIXELS:,}" in refusal(path, 1)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.png", b"this is no image"),
        ("empty.jpg", b""),
        ("zeros.tiff", bytes(500)),
        ("page.png", b"<html></html>"),
        ("picture.gif", b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00"),
        ("text.dcm", b"this is no image"),
        ("empty.dcm", b""),
        ("head.dcm", bytes(128) + b"DICM"),
        ("noise.dcm", bytes(128) + b"DICM" + os.urandom(300)),
        ("huge.png", png_of(50, 50)[:60]),
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    refusal(tmp_path / name)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_a_file_cut_anywhere_is_read_or_refused(tmp_path: Path, form: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(buffer, form)
    data, refused = buffer.getvalue(), 0
    for end in range(0, len(data), max(len(data) // 60, 1)):
        path = tmp_path / f"{end}.img"
        path.write_bytes(data[:end])
        try:
            open_file(path)
        except UserError:
            refused += 1
            refusal(path)
    assert refused > 50


def test_no_file_a_folder_and_a_locked_file_are_named(tmp_path: Path) -> None:
    assert "no such image" in refusal(tmp_path / "none.png")
    assert "no such image" in refusal(tmp_path / "none.png" / "a.png")
    assert "folder" in refusal(tmp_path)
    assert "no such image" in refusal(tmp_path / "nul\0.png")
    refusal(tmp_path / ("n" * 300 + ".png"))
    path = saved(tmp_path, Image.fromarray(GREY), "a.png")
    path.chmod(0)
    if not os.access(path, os.R_OK):
        assert "cannot read" in refusal(path)


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("a.png", "no scheme"),
        ("gopher:x", "gopher"),
        ("file:", "names no file"),
        ("", "no scheme"),
    ],
)
def test_an_address_that_opens_nothing_is_named(uri: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        open_image(ImageRef(uri=uri))


# DICOM: pydicom's own files, and ones that are written here.


def dicom(name: str) -> Path:
    import pydicom.data

    folder = Path(pydicom.data.__file__).parent / "test_files"
    if not (folder / name).is_file():
        pytest.skip(f"this pydicom comes without {name}")
    return folder / name


def written(tmp_path: Path, values: np.ndarray, **tags: Any) -> Path:
    """A DICOM file of these stored values and tags; a tag that is None is left out."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset = FileDataset(str(tmp_path / "a.dcm"), {}, file_meta=meta, preamble=bytes(128))
    colour = values.ndim > 2 and values.shape[-1] == 3
    size = values.dtype.itemsize * 8
    given: dict[str, Any] = {
        "Rows": values.shape[-3 if colour else -2],
        "Columns": values.shape[-2 if colour else -1],
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "BitsAllocated": size,
        "BitsStored": size,
        "HighBit": size - 1,
        "PixelRepresentation": int(values.dtype.kind == "i"),
        "Modality": "OT",
        "PixelData": values.tobytes(),
        **({"PlanarConfiguration": 0} if colour else {}),
        **tags,
    }
    for name, value in given.items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    return tmp_path / "a.dcm"


def test_a_ct_has_hounsfield_units_and_spacing() -> None:
    study = open_file(dicom("CT_small.dcm"))
    assert study.modality == "CT"
    assert study.spacing_mm == (0.661468, 0.661468)
    assert study.size == (128, 128)
    assert -1100 < study.pixels.min() < 0 < study.pixels.max()  # stored from 0 on, shifted by -1024
    assert np.unique(shown(study)).size > 50


def test_an_mr_is_shown_through_its_own_window() -> None:
    study = open_file(dicom("MR_small.dcm"))
    assert (study.modality, study.window) == ("MR", Window(600, 1600, "LINEAR"))


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_ybr_full_422_uncompressed.dcm",
        "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_rle.dcm",
    ],
)  # fmt: skip
def test_colours_are_right_however_they_are_stored(name: str) -> None:
    """The same chart of coloured bars in all of these, as RGB and as YBR."""
    study = open_file(dicom(name))
    chart = open_file(dicom("SC_rgb_dcmtk_+eb+cr.dcm"))
    assert study.pixels.shape == (100, 100, 3)
    assert np.abs(study.pixels.astype(int) - chart.pixels).mean() < 5
    assert abs(study.pixels[5, 50].astype(int) - (255, 0, 0)).max() < 6


def test_the_colours_of_a_palette_are_shown() -> None:
    study = open_file(dicom("examples_palette.dcm"))
    assert study.pixels.shape == (350, 800, 3)
    assert (study.pixels[..., 0] != study.pixels[..., 2]).any()


@pytest.mark.parametrize("name", ["examples_ybr_color.dcm", "rtdose.dcm", "SC_rgb_rle_2frame.dcm"])
def test_a_frame_of_several_must_be_named(name: str) -> None:
    path = dicom(name)
    assert "frame" in refusal(path)
    assert "frame" in refusal(path, 99)
    assert open_file(path, 0).pixels.shape == open_file(path, 1).pixels.shape


def test_frames_are_the_files_own(tmp_path: Path) -> None:
    values = rng.integers(0, 4000, (3, 5, 4), dtype=np.uint16)
    path = written(tmp_path, values, NumberOfFrames=3)
    for frame in range(3):
        assert np.array_equal(open_file(path, frame).pixels, values[frame])
    assert "0..0" in refusal(written(tmp_path, values[0]), 1)


@pytest.mark.parametrize("name", ["rtplan.dcm", "test-SR.dcm", "waveform_ecg.dcm", "reportsi.dcm"])
def test_an_object_without_pixels_is_refused(name: str) -> None:
    assert "without pixels" in refusal(dicom(name))


@pytest.mark.parametrize(
    "name", ["MR_truncated.dcm", "no_meta.dcm", "badVR.dcm", "rtplan_truncated.dcm"]
)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_object_is_refused(name: str) -> None:
    refusal(dicom(name))


@pytest.mark.filterwarnings("ignore")
def test_every_file_of_pydicom_is_read_or_refused() -> None:
    read = 0
    for path in sorted(dicom("CT_small.dcm").parent.glob("*.dcm")):
        try:
            study = open_file(path)
        except UserError:
            refusal(path)
            continue
        read += 1
        assert study.render((0, 0, *study.size), (8, 8)).size == (8, 8)
    assert read > 20


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    values = np.array([[-2, 0, 3]], np.int16)
    path = written(tmp_path, values, RescaleSlope="2.5", RescaleIntercept="-10")
    assert open_file(path).pixels.tolist() == [[-15.0, -10.0, -2.5]]


def test_monochrome1_is_shown_white_on_black(tmp_path: Path) -> None:
    values = np.array([[0, 50, 100]], np.int16)
    tags = {"WindowCenter": "50", "WindowWidth": "100", "PixelRepresentation": 0}
    plain = shown(open_file(written(tmp_path, values, **tags)))[0, :, 0].tolist()
    tags["PhotometricInterpretation"] = "MONOCHROME1"
    turned = shown(open_file(written(tmp_path, values, **tags)))[0, :, 0].tolist()
    assert plain == [0, 129, 255]
    assert turned[0] == 255
    assert turned[2] == 0


@pytest.mark.parametrize(
    ("centre", "width", "expected"),
    [
        (None, None, Window(50, 100)),
        ("40", None, Window(50, 100)),
        ("", "", Window(50, 100)),
        ("40", "0", Window(50, 100)),
        ("40", "-5", Window(50, 100)),
        ("0", "80", Window(0, 80, "LINEAR")),
        ("40", "0.5", Window(40, 0.5, "LINEAR")),
        (["40", "300"], ["80", "1500"], Window(40, 80, "LINEAR")),
    ],
)
def test_a_window_is_the_headers_or_else_all(
    tmp_path: Path, centre: Any, width: Any, expected: Window
) -> None:
    values = np.array([[0, 100]], np.int16)
    path = written(tmp_path, values, WindowCenter=centre, WindowWidth=width)
    assert open_file(path).window == expected


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [
        ({"PixelSpacing": ["0.5", "0.25"]}, (0.5, 0.25)),
        ({"ImagerPixelSpacing": ["0.1", "0.2"]}, None),
        ({"PixelSpacing": ["0", "0"]}, None),
        ({"PixelSpacing": ["1e300", "1e300"]}, None),
        ({"PixelSpacing": ["1e-300", "1e-300"]}, None),
        ({"PixelSpacing": ["-1", "1"]}, None),
        ({"PixelSpacing": "0.5"}, None),
        ({"PixelSpacing": ""}, None),
        ({}, None),
    ],
)
def test_spacing_is_row_and_column_or_unknown(tmp_path: Path, spacing: Any, expected: Any) -> None:
    path = written(tmp_path, np.zeros((2, 3), np.uint8), **spacing)
    assert open_file(path).spacing_mm == expected


def test_colours_of_sixteen_bits_are_shown_by_all_that_their_bits_can_say(tmp_path: Path) -> None:
    values = np.array([[[0, 2048, 4095], [257, 1, 4000]]], np.uint16)
    study = open_file(written(tmp_path, values, BitsStored=12, HighBit=11))
    assert np.array_equal(study.pixels, values)
    assert np.array_equal(shown(study), np.rint(values * (255 / 4095)))


def test_a_dicom_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = written(tmp_path, np.zeros((2, 3), np.uint8), Rows=60_000, Columns=60_000)
    assert f"{MAX_PIXELS:,}" in refusal(path)


@pytest.mark.parametrize("missing", ["Rows", "Columns", "PixelData", "BitsAllocated"])
def test_a_dicom_file_without_what_pixels_need_is_refused(tmp_path: Path, missing: str) -> None:
    refusal(written(tmp_path, np.zeros((2, 3), np.uint8), **{missing: None}))


@pytest.mark.parametrize(
    "box", [(0, 0, 9, 7), (2, 1, 9, 7), (0, 3, 4, 7), (8, 6, 9, 7), (1, 1, 3, 5)]
)
def test_any_region_is_shown_pixel_for_pixel(box: tuple[int, int, int, int]) -> None:
    grey = np.arange(63, dtype=np.uint8).reshape(7, 9)
    x0, y0, x1, y1 = box
    size = (x1 - x0, y1 - y0)
    for pixels in (grey, np.asfortranarray(grey), np.dstack([grey, grey + 1, grey + 2])):
        shown = np.asarray(Study(pixels.copy(order="K")).render(tuple(map(float, box)), size))
        part = pixels[y0:y1, x0:x1]
        assert (shown == (part if part.ndim == 3 else part[:, :, None])).all()
