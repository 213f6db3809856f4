"""What pydicom makes of a file, beside what medgym makes of it."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels import (
    apply_color_lut,
    apply_modality_lut,
    apply_voi_lut,
    apply_windowing,
    pixel_array,
)

import medgym
from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from tests.imaging.formats import described, refused

FRAMES = 3
"""Of a file of many frames so many are compared."""


def oracle(path: Path, index: int) -> tuple[np.ndarray, np.ndarray]:
    """The values and the levels of a frame, as pydicom calculates them."""
    dataset = pydicom.dcmread(path, force=True)
    stored = pixel_array(dataset, index=index)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(stored, dataset)
        return (colours >> 8,) * 2 if colours.dtype == np.uint16 else (colours,) * 2
    if stored.ndim == 3:
        return stored, stored / (2.0**dataset.BitsStored - 1) * 255
    values = apply_modality_lut(stored, dataset) * float(dataset.get("DoseGridScaling") or 1)
    levels = grey_levels(values, dataset)
    return values, 255 - levels if dataset.PhotometricInterpretation == "MONOCHROME1" else levels


def grey_levels(values: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """What pydicom's table or window makes of values, from 0 to 255."""
    if "VOILUTSequence" in dataset:
        bits = dataset.VOILUTSequence[0].LUTDescriptor[2]
        return apply_voi_lut(values, dataset) / (2.0**bits - 1) * 255
    if "WindowCenter" in dataset:
        ends = np.concatenate([values.ravel(), [-1e9, 1e9]])
        shown = apply_windowing(ends, dataset)
        low, high = shown[-2:]
        return (shown[:-2].reshape(values.shape) - low) / (high - low) * 255
    low, high = (0, 1) if dataset.BitsStored == 1 else (values.min(), values.max())
    return (values - low) / max(high - low, 1e-300) * 255


def told(path: Path) -> str:
    """What medgym makes of a file; an assertion fails where pydicom makes another thing of it."""
    try:
        study = whole = medgym.open_study(path)
        if len(study.planes) > 1:  # frames that make a volume, here one by one
            study = medgym.open_study(ImageRef(uri=path.as_uri(), frame=0))
        ((name, plane),) = study.planes.items()
        for index in range(min(plane.count, FRAMES)):
            got = study.values(name, index)
            values, levels = oracle(path, index)
            assert np.allclose(got, values, rtol=1e-6), path
            shown = np.asarray(study.show(name, index, size=plane.size), np.float64)
            shown = shown if levels.ndim == 3 else shown[..., 0]
            assert np.abs(shown - levels).max() <= 0.5 + 1e-6, path
    except UserError as error:
        return refused(error, path)
    return described(whole)
