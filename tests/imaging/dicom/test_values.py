"""What stored values mean and how they are shown, as the standard says and pydicom calculates."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut, convert_color_space, pixel_array
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

import medgym
from medgym.errors import UserError

RAMP = np.array([[0, 1024, 2048, 3072, 4095]], np.uint16)
NARROW = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 2048}


def values(path: Path, index: int = 0) -> list[list[float]]:
    study = medgym.open_study(path)
    (plane,) = study.planes
    return study.values(plane, index).tolist()


def greys(path: Path, index: int = 0, **how: Any) -> list[list[int]]:
    """The grey level of each pixel."""
    study = medgym.open_study(path)
    ((name, plane),) = study.planes.items()
    shown = np.asarray(study.show(name, index, size=plane.size, **how))
    assert (shown[..., 0] == shown[..., 1]).all()
    return shown[..., 0].tolist()


def lut(data: bytes, descriptor: list[int], vr: str = "US") -> Dataset:
    item = Dataset()
    item.add_new(0x00283002, vr, descriptor)
    item.add_new(0x00283006, "OW", data)
    return item


def test_each_frame_has_its_own_functional_groups(write: Any, item: Any, sequence: Any) -> None:
    """Per frame before shared before root; where a level has them, no other level counts."""

    def frame(slope: float, centre: float) -> Dataset:
        return item(
            PixelValueTransformationSequence=sequence(
                RescaleSlope=slope, RescaleIntercept=-1024, RescaleType="HU"
            ),
            FrameVOILUTSequence=sequence(WindowCenter=centre, WindowWidth=400),
        )

    stored = [[[24, 1024], [1064, 1424]], [[12, 512], [532, 712]], [[2024, 1024], [984, 624]]]
    path = write(
        np.array(stored, np.uint16),
        SharedFunctionalGroupsSequence=sequence(
            PixelMeasuresSequence=sequence(PixelSpacing=[0.7, 0.6]),
            FrameVOILUTSequence=sequence(WindowCenter=0, WindowWidth=9),
        ),
        PerFrameFunctionalGroupsSequence=[frame(1, 40), frame(2, 40), frame(-1, 60)],
        RescaleSlope=9, RescaleIntercept=9, WindowCenter=9, WindowWidth=9, PixelSpacing=[9, 9],
    )  # fmt: skip
    study = medgym.open_study(path)
    assert study.planes == {
        "frame": medgym.Plane(3, (2, 2), (0.7, 0.6), "patient"),
    }
    assert values(path, 0) == values(path, 1) == [[-1000, 0], [40, 400]]
    assert values(path, 2) == [[-3048, -2048], [-2008, -1648]]
    assert study.windows("frame", 1) == (medgym.Window(40, 400, "LINEAR"),)
    assert study.windows("frame", 2) == (medgym.Window(60, 400, "LINEAR"),)
    assert study.image("frame", 0).unit == "HU"
    assert study.image("frame", 0).spacing_mm == (0.7, 0.6)
    assert greys(path, 0)[0][0] == 0
    with pytest.raises(UserError, match=r"3 image\(s\); fix: name one of 0..2"):
        study.values("frame", 3)


def test_shared_groups_hold_for_all_frames(write: Any, sequence: Any) -> None:
    path = write(
        np.array([[[0, 1]], [[2, 3]]], np.uint16),
        SharedFunctionalGroupsSequence=sequence(
            PixelValueTransformationSequence=sequence(RescaleSlope=2, RescaleIntercept=-1)
        ),
    )
    assert [values(path, 0), values(path, 1)] == [[[-1, 1]], [[3, 5]]]


def test_a_frame_without_its_groups_is_refused(write: Any, item: Any) -> None:
    path = write(np.zeros((2, 1, 1), np.uint8), PerFrameFunctionalGroupsSequence=[item()])
    with pytest.raises(UserError, match="no functional groups for frame 1"):
        values(path)


@pytest.mark.parametrize(
    ("tags", "window"),
    [
        ({"PixelPaddingValue": -2000}, medgym.Window(-480, 1040)),
        ({"PixelPaddingValue": 63536, "kind": "US"}, medgym.Window(-480, 1040)),
        ({"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1000}, medgym.Window(20, 40)),
        ({"PixelPaddingValue": -1000, "PixelPaddingRangeLimit": -2000}, medgym.Window(20, 40)),
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_counts_in_no_window(
    write: Any, tags: dict[str, Any], window: medgym.Window, photometric: str
) -> None:
    stored = np.array([[-2000] * 4, [-2000, -1000, 0, 40]], np.int16)
    tags = {**tags}
    if tags.pop("kind", None):  # some writers say US where the pixels are signed
        tags["PixelPaddingValue"] = None
        path = write(stored, PhotometricInterpretation=photometric)
        dataset = pydicom.dcmread(path)
        dataset.add_new(0x00280120, "US", 63536)
        dataset.save_as(path)
    else:
        path = write(stored, PhotometricInterpretation=photometric, **tags)
    study = medgym.open_study(path)
    shown = study.image("image", 0).window
    assert isinstance(shown, medgym.Window)
    assert (shown.centre, shown.width) == (window.centre, window.width)
    padding = study.padding("image", 0)
    assert padding[:, 0].all()
    assert padding[0].all()
    assert not padding[1, 2:].any()
    levels = greys(path)
    assert levels[0] == [0] * 4
    assert levels[1][3] == (255 if photometric == "MONOCHROME2" else 0)
    assert levels[1][1] != (0 if photometric == "MONOCHROME1" and window.centre < 0 else -1)
    assert study.values("image", 0)[0, 0] == -2000  # as the file says it
    # A part is shown as in the whole.
    part = np.asarray(study.show("image", 0, (2, 1, 4, 2)))[..., 0]
    assert part.tolist() == [levels[1][2:]]


def test_padding_of_floats_is_black(write: Any) -> None:
    path = write(
        np.array([[-9.5, 0.25, 1.25]], np.float32), BitsStored=None, HighBit=None,
        PixelRepresentation=None, FloatPixelPaddingValue=-9.5,
    )  # fmt: skip
    assert greys(path) == [[0, 0, 255]]


@pytest.mark.parametrize(
    ("function", "levels"),
    [
        (None, [0, 0, 128, 255, 255]),
        ("LINEAR", [0, 0, 128, 255, 255]),
        ("LINEAR_EXACT", [0, 0, 128, 255, 255]),
        ("SIGMOID", [5, 30, 128, 225, 250]),
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_windows_are_those_of_pydicom(
    write: Any, function: str | None, levels: list[int], photometric: str
) -> None:
    path = write(RAMP, VOILUTFunction=function, PhotometricInterpretation=photometric, **NARROW)
    dataset = pydicom.dcmread(path)
    exact = apply_voi_lut(pixel_array(dataset), dataset) / 4095 * 255
    plain = photometric == "MONOCHROME2"
    want = np.rint(exact) if plain else 255 - np.rint(exact)
    assert greys(path) == want.tolist()
    assert greys(path) == [levels if plain else [255 - each for each in levels]]


def test_a_window_of_width_one_is_a_threshold(write: Any) -> None:
    stored = np.array([[0, 1, 0, 1]], np.uint8)
    assert greys(write(stored, WindowCenter=1, WindowWidth=1)) == [[0, 255, 0, 255]]


def test_a_voi_lut_replaces_window_and_function(write: Any) -> None:
    data = np.clip(255 - np.arange(4096) // 16, 0, 255).astype(np.uint8).tobytes()
    path = write(RAMP, VOILUTSequence=[lut(data, [4096, 0, 8])], VOILUTFunction="SIGMOID", **NARROW)
    assert greys(path) == [[255, 191, 127, 63, 0]]
    assert len(medgym.open_study(path).windows("image", 0)) == 2


@pytest.mark.parametrize(("entries", "first", "bits"), [(4, 1, 16), (4096, 0, 12), (3, 2, 10)])
def test_voi_luts_are_those_of_pydicom(write: Any, entries: int, first: int, bits: int) -> None:
    table = np.random.default_rng(bits).integers(0, 2**bits, entries).astype("<u2")
    stored = np.array([[0, 1, 2, 3, 4, 5, 4095]], np.uint16)
    path = write(
        stored, BitsStored=12, VOILUTSequence=[lut(table.tobytes(), [entries, first, bits])]
    )
    dataset = pydicom.dcmread(path)
    want = apply_voi_lut(pixel_array(dataset), dataset) / (2**bits - 1) * 255
    assert greys(path) == np.rint(want).tolist()


def test_a_voi_lut_is_looked_up_with_modality_values(write: Any) -> None:
    """Whose first may be negative, even where its two bytes are said to be unsigned."""
    table = np.array([0, 100, 200, 255], np.uint8).tobytes()
    for first, vr in ((-1024, "SS"), (64512, "US")):
        path = write(
            np.array([[0, 1, 2, 3, 9]], np.uint16), RescaleSlope=1, RescaleIntercept=-1024,
            VOILUTSequence=[lut(table, [4, first, 8], vr)],
        )  # fmt: skip
        assert greys(path) == [[0, 100, 200, 255, 255]]


@pytest.mark.parametrize("descriptor", [[4, 0], [4, 0, 7], [4, 0, 17], [400, 0, 16]])
def test_a_damaged_table_is_refused(write: Any, descriptor: list[int]) -> None:
    path = write(RAMP, VOILUTSequence=[lut(bytes(8), descriptor)])
    with pytest.raises(UserError, match="lookup table LUTData"):
        greys(path)


def test_a_modality_lut_gives_the_values(write: Any) -> None:
    table = np.array([10, 20, 40, 80], np.uint16)
    path = write(
        np.array([[0, 1, 2, 3, 4, 5]], np.uint16),
        ModalityLUTSequence=[lut(table.tobytes(), [4, 1, 16])],
    )
    dataset = pydicom.dcmread(path)
    want = apply_modality_lut(pixel_array(dataset), dataset)
    assert values(path) == want.tolist() == [[10, 10, 20, 40, 80, 80]]


def test_a_negative_slope_turns_values_and_not_the_window(write: Any) -> None:
    stored = np.array([[0, 500, 1000]], np.uint16)
    path = write(stored, RescaleSlope=-1, RescaleIntercept=0, WindowCenter=-500, WindowWidth=1001)
    assert values(path) == [[0, -500, -1000]]
    assert greys(path) == [[255, 128, 0]]


def test_dose_is_in_gray(write: Any) -> None:
    stored = np.array([[[0, 2_000_000_000, 2_000_000_001, 0]]] * 2, np.uint32)
    path = write(stored, Modality="RTDOSE", DoseUnits="GY", DoseGridScaling=1e-9)
    assert np.allclose(values(path, 1), [[0, 2, 2.000000001, 0]])
    image = medgym.open_study(path).image("frame", 1)
    assert (image.unit, image.pixels.dtype) == ("Gy", np.float64)


@pytest.mark.parametrize("shape", ["INVERSE", "IDENTITY", None])
def test_the_shape_of_presentation_inverts(write: Any, shape: str | None) -> None:
    path = write(RAMP, PresentationLUTShape=shape)
    assert greys(path)[0][0] == (255 if shape == "INVERSE" else 0)
    path = write(RAMP, PresentationLUTShape=shape, PhotometricInterpretation="MONOCHROME1")
    assert greys(path)[0][0] == 255  # once, not twice
    assert values(path) == RAMP.tolist()


@pytest.mark.parametrize(
    ("stored", "tags"),
    [
        (np.arange(64, dtype=np.uint32) + 2**31, {}),
        ((np.arange(64) - 2**31).astype(np.int32), {}),
        (np.arange(64, dtype=np.uint16), {"RescaleSlope": 1, "RescaleIntercept": 2**31}),
        (np.arange(64, dtype=np.int8) - 64, {}),
        (np.arange(64, dtype=np.float64) + 1e9, {"floats": True}),
    ],
)
def test_no_level_is_lost_in_large_numbers(write: Any, stored: Any, tags: dict[str, Any]) -> None:
    tags = {**tags}
    if tags.pop("floats", False):
        tags |= {"BitsStored": None, "HighBit": None, "PixelRepresentation": None}
    path = write(stored.reshape(1, 64), **tags)
    assert greys(path) == [np.rint(np.arange(64) * (255 / 63)).tolist()]
    assert greys(path, window=(values(path)[0][0], 1e6)) != [[0] * 64]


def test_values_beyond_float32_are_refused_and_shown(write: Any) -> None:
    stored = np.array([[0, 1e300]])
    path = write(stored, BitsStored=None, HighBit=None, PixelRepresentation=None)
    with pytest.raises(UserError, match="the most that float32"):
        values(path)
    assert greys(path) == [[0, 255]]


@pytest.mark.parametrize("value", [0, 1, 255, 3000])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_constant_image_is_black(write: Any, value: int, photometric: str) -> None:
    path = write(np.full((2, 2), value, np.uint16), PhotometricInterpretation=photometric)
    assert greys(path) == [[0, 0], [0, 0]]


def test_one_bit_is_black_or_white(write: Any) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (3, 3, 5), dtype=np.uint8)  # no frame of bytes
    packed = np.packbits(bits.reshape(-1), bitorder="little")
    path = write(
        np.zeros((3, 3, 5), np.uint8), BitsAllocated=1, BitsStored=1, HighBit=0,
        PixelData=packed.tobytes() + bytes(len(packed) % 2),
    )  # fmt: skip
    for index in range(3):
        assert values(path, index) == bits[index].tolist()
        assert greys(path, index) == (bits[index] * 255).tolist()
    study = medgym.open_study(path)
    assert study.values("frame", 2, (1, 2, 4, 3)).tolist() == bits[2, 2:3, 1:4].tolist()


@pytest.mark.parametrize("high", [11, 15])
@pytest.mark.parametrize("signed", [False, True])
def test_bits_beside_the_values_are_cut_off(write: Any, high: int, signed: bool) -> None:
    wanted = np.array([[0, 100, 2047, -1 if signed else 4095, -2048 if signed else 2048]])
    stored = ((wanted & 0xFFF) << (high - 11)).astype(np.uint16)
    stored |= np.uint16(0x8000 if high == 11 else 0x0005)  # an overlay
    path = write(stored, BitsStored=12, HighBit=high, PixelRepresentation=int(signed))
    assert values(path) == wanted.tolist()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.uint32])
def test_each_way_of_writing_numbers_is_read(write: Any, syntax: str, dtype: Any) -> None:
    pixels = np.arange(24).reshape(2, 3, 4).astype(dtype)
    data = pixels.tobytes()
    if syntax == ExplicitVRBigEndian:
        data = pixels.astype(np.dtype(dtype).newbyteorder(">")).tobytes()
    path = write(pixels, syntax=syntax, PixelData=data)
    for index in range(2):
        assert values(path, index) == pixels[index].tolist()


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"RescaleSlope": "1\\2"}, "RescaleSlope"),
        ({"VOILUTFunction": "DOE^JOHN", "WindowCenter": 1, "WindowWidth": 2}, "VOILUTFunction"),
        ({"PhotometricInterpretation": "HSV"}, "photometric interpretation"),
        ({"PhotometricInterpretation": "YBR_FULL"}, "photometric interpretation"),
        ({"PixelPresentation": "COLOR"}, "supplemental palette"),
        ({"BitsStored": 17}, "BitsStored"),
        ({"HighBit": 3}, "BitsStored"),
        ({"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11}, "12 bits"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    write: Any, tags: dict[str, Any], said: str
) -> None:
    path = write(RAMP, **tags)
    with pytest.raises(UserError, match=said) as error:
        greys(path)
    assert "DOE" not in str(error.value)
    assert "fix: " in str(error.value)


@pytest.mark.parametrize("keyword", ["WindowCenter", "RescaleIntercept", "NumberOfFrames"])
@pytest.mark.filterwarnings("ignore")
def test_text_in_place_of_a_number_is_named_and_not_quoted(write: Any, keyword: str) -> None:
    path = write(RAMP, WindowWidth=9, **{keyword: 77})
    data = path.read_bytes()
    path.write_bytes(data.replace(b"77", b"DO"))
    with pytest.raises(UserError, match=keyword) as error:
        greys(path)
    assert "DO" not in str(error.value).replace(str(path), "")


def test_a_shutter_is_black_and_counts_in_no_window(write: Any) -> None:
    stored = np.full((9, 9), 1000, np.uint16)
    stored[2:6, 3:8] = np.arange(20).reshape(4, 5)
    path = write(
        stored, ShutterShape="RECTANGULAR", ShutterLeftVerticalEdge=4, ShutterRightVerticalEdge=8,
        ShutterUpperHorizontalEdge=3, ShutterLowerHorizontalEdge=6,
    )  # fmt: skip
    levels = np.array(greys(path))
    assert levels[2:6, 3:8].tolist() == np.rint(np.arange(20) * (255 / 19)).reshape(4, 5).tolist()
    levels[2:6, 3:8] = 0
    assert not levels.any()
    path = write(
        stored, ShutterShape="CIRCULAR", CenterOfCircularShutter=[5, 5], RadiusOfCircularShutter=2
    )
    assert (~medgym.open_study(path).padding("image", 0)).sum() == 13
    path = write(stored, ShutterShape="HEXAGON")
    with pytest.raises(UserError, match="shutter"):
        greys(path)


def test_presets_and_windows_of_one_s_own(write: Any, sequence: Any) -> None:
    stored = np.array([[0, 874, 1024, 1064, 1124, 1224]], np.uint16)
    hounsfield = {"RescaleSlope": 1, "RescaleIntercept": -1024}
    path = write(stored, WindowCenter=[0, 40], WindowWidth=[9, 400], **hounsfield)
    study = medgym.open_study(path)
    assert greys(path, window="soft tissue") == greys(path, window=(40, 400))
    assert greys(path, window=study.windows("image", 0)[1]) == greys(path, window=(40, 400))
    assert greys(path, window=(40, 400)) != greys(path)
    turned = write(stored, "b.dcm", PhotometricInterpretation="MONOCHROME1", **hounsfield)
    plain = greys(path, window=(40, 400))[0]
    assert greys(turned, window=(40, 400)) == [[255 - each for each in plain]]
    for wrong, said in (("heart", "lung, bone"), ((1, 0), "no window"), ((np.nan, 1), "no window")):
        with pytest.raises(UserError, match=said):
            greys(path, window=wrong)
    with pytest.raises(UserError, match="no Hounsfield units"):
        greys(write(stored, Modality="MR", **hounsfield), window="lung")


def test_sixteen_bits_of_palette_filled_with_eight_are_not_black(write: Any) -> None:
    for shift in (0, 8):
        colours = {}
        for place, name in enumerate(("Red", "Green", "Blue")):
            entries = ((np.arange(4) * 60 + place).astype(np.uint16) << shift).astype("<u2")
            colours[f"{name}PaletteColorLookupTableDescriptor"] = [4, 1, 16]
            colours[f"{name}PaletteColorLookupTableData"] = entries.tobytes()
        path = write(
            np.array([[0, 1, 2, 4, 9]], np.uint8), PhotometricInterpretation="PALETTE COLOR",
            **colours,
        )  # fmt: skip
        want = [[0, 1, 2], [0, 1, 2], [60, 61, 62], [180, 181, 182], [180, 181, 182]]
        assert values(path) == [want]
        study = medgym.open_study(path)
        assert np.asarray(study.show("image", 0)).tolist() == [want]
        with pytest.raises(UserError, match="has colours"):
            study.show("image", 0, window=(1, 2))


@pytest.mark.parametrize("planar", [0, 1])
def test_planes_of_colour_are_put_together(write: Any, planar: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3), dtype=np.uint8)
    data = pixels if planar == 0 else np.moveaxis(pixels, -1, 1)
    path = write(pixels, PlanarConfiguration=planar, PixelData=data.tobytes())
    for index in range(2):
        assert values(path, index) == pixels[index].tolist()


def test_ybr_becomes_rgb(write: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    path = write(pixels, PhotometricInterpretation="YBR_FULL")
    assert values(path) == convert_color_space(pixels, "YBR_FULL", "RGB").tolist()


@pytest.mark.parametrize("space", ["YBR_PARTIAL_422", "YBR_RCT", "YBR_ICT", "HSV", "CMYK"])
def test_colours_that_are_converted_by_nothing_are_refused(write: Any, space: str) -> None:
    path = write(np.zeros((4, 4, 3), np.uint8), PhotometricInterpretation=space)
    with pytest.raises(UserError, match="photometric interpretation"):
        medgym.open_study(path)
