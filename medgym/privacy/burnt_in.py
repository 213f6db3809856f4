"""Text that is burnt into pixels: found by OCR on this machine, and masked.

The OCR (RapidOCR, with the models that its wheel ships, on ONNX Runtime) is an extra. It reads no
network. What it reads is not kept anywhere: only where text stands is.
"""

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.errors import UserError, missing_library
from medgym.imaging.imaging_study import ImagingStudy, Region

CERTAIN = 0.5
"""How sure the OCR is of what it reads, at least, where it reads something in a large box."""

LARGE = 0.02
"""The part of an image from which a box is large. The OCR takes round anatomy for an O, and a whole
image for a dash; so a large box counts only if it is certain, and of two letters or digits.
A small box always counts."""

MARGIN = 2
"""Pixels around a box that are masked with it."""

ROUNDS = 3
"""How often a masked image is looked at again."""


class TextFinder:
    """Finds text in pictures.

    Raises:
        UserError: the OCR is not installed.
    """

    def __init__(self) -> None:
        try:
            import onnxruntime as onnxruntime
            from rapidocr import RapidOCR
        except ImportError as error:
            raise missing_library(error) from error
        logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
        quiet = {"Global.log_level": "critical", "EngineConfig.onnxruntime.intra_op_num_threads": 1}
        self._ocr: Any = RapidOCR(params=quiet)

    def boxes(self, picture: NDArray[np.uint8]) -> list[Region]:
        """Where text stands in a picture of (height, width, 3)."""
        height, width = picture.shape[:2]
        read = self._ocr(
            np.ascontiguousarray(picture[..., ::-1]),
            use_det=True, use_cls=False, use_rec=True, text_score=0.0,
        )  # fmt: skip
        found = []
        given = () if getattr(read, "boxes", None) is None else read.boxes
        for corners, text, score in zip(given, read.txts or (), read.scores or (), strict=False):
            x0, y0 = (int(each) - MARGIN for each in np.floor(corners.min(0)))
            x1, y1 = (int(each) + 1 + MARGIN for each in np.ceil(corners.max(0)))
            box = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
            area = (box[2] - box[0]) * (box[3] - box[1]) / (width * height)
            sure = score >= CERTAIN and sum(each.isalnum() for each in text) > 1
            if box[0] < box[2] and box[1] < box[3] and (area < LARGE or sure):
                found.append(box)
        return found


def boxes_of(study: ImagingStudy, finder: TextFinder) -> tuple[Region, ...]:
    """Where text stands in any image of a study, in stored pixels.

    Each image is looked at again with its text masked, until nothing is found.
    """
    found: list[Region] = []
    for plane, about in study.planes.items():
        for index in range(about.count):
            shown = study.show(plane, index, size=about.size)
            picture = np.array(shown, np.uint8)
            for box in found:
                _fill(picture, box)
            for _ in range(ROUNDS):
                fresh = finder.boxes(picture)
                if not fresh:
                    break
                found += [box for box in fresh if box not in found]
                for box in fresh:
                    _fill(picture, box)
    return tuple(sorted(found))


def masked(pixels: NDArray[Any], boxes: Iterable[Region], black: Any) -> NDArray[Any]:
    """A copy of (..., height, width) or (..., height, width, channels) with boxes of one value.

    `black` is the value: a number, or one for each channel.
    """
    copy = np.array(pixels)
    colours = np.ndim(black) > 0
    for x0, y0, x1, y1 in boxes:
        if colours:
            copy[..., y0:y1, x0:x1, :] = black
        else:
            copy[..., y0:y1, x0:x1] = black
    return copy


def outside(size: tuple[int, int], boxes: Iterable[Region]) -> NDArray[np.bool_]:
    """Which pixels of an image of (width, height) lie in no box."""
    kept = np.ones((size[1], size[0]), np.bool_)
    for x0, y0, x1, y1 in boxes:
        kept[y0:y1, x0:x1] = False
    return kept


def mask_dataset(dataset: Any, boxes: Iterable[Region], path: Any) -> list[str]:
    """Mask boxes of all frames of a DICOM data set, which is decompressed for it.

    Returns:
        What else changed.

    Raises:
        UserError: its pixels are of a form that cannot be masked.
    """
    notes = []
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not syntax.is_deflated:
        dataset.decompress(generate_instance_uid=False)
        notes.append("decompressed")
    space = str(dataset.PhotometricInterpretation)
    bits = int(dataset.BitsAllocated)
    if "PixelData" not in dataset or bits not in (8, 16, 32) or not syntax.is_little_endian:
        raise _unmaskable(path)
    pixels = dataset.pixel_array
    if space in ("RGB", "YBR_FULL"):
        black: Any = (0, 0, 0) if space == "RGB" else (0, 128, 128)
        dataset.PlanarConfiguration = 0
    elif space in ("MONOCHROME1", "MONOCHROME2"):
        black = pixels.max() if space == "MONOCHROME1" else pixels.min()
    elif space == "PALETTE COLOR":
        black = _darkest(dataset, pixels)
    else:
        raise _unmaskable(path)
    data = masked(pixels, boxes, black).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    return notes


def _darkest(dataset: Any, pixels: NDArray[Any]) -> Any:
    from pydicom.pixels import apply_color_lut

    used = np.unique(pixels)
    colours = apply_color_lut(used.reshape(1, -1), dataset)
    return used[int(np.argmin(colours.astype(np.int64).sum(-1).ravel()))]


def _fill(picture: NDArray[np.uint8], box: Region) -> None:
    x0, y0, x1, y1 = box
    picture[y0:y1, x0:x1] = 0


def _unmaskable(path: Any) -> UserError:
    return UserError(
        f"{path} has pixels of a form in which text cannot be masked; fix: export it as grey or RGB"
    )
