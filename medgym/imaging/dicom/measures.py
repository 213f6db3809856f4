"""Millimetres and where they are: PS3.3 10.7 (calibration), C.8.5.5 (ultrasound), C.7.6.16.2.1.

Projections are magnified: what a detector measures is larger than the patient. Their spacing is the
patient's only if the file says that it was calibrated, or by how much it is magnified.
"""

from dataclasses import dataclass
from typing import Any

from medgym.imaging.dicom.functional_groups import FrameHeader
from medgym.imaging.rendering import Box
from medgym.imaging.spacing import Origin, Spacing, credible_spacing

PROJECTIONS = {"CR", "DX", "MG", "PX", "IO", "RF", "XA", "RG", "XC", "DG", "TG", "RTIMAGE"}
"""Modalities of projections, and of photographs, in which nothing has one scale."""

MOST_MAGNIFIED = 20.0
"""The greatest magnification that is believed."""

_SAME = 1e-3
_CENTIMETRES, _TWO_DIMENSIONAL = 3, 1


@dataclass(frozen=True)
class Measures:
    """What a file says of lengths.

    Attributes:
        spacing_mm, origin: see `Plane`. In an ultrasound image they hold in its regions.
        regions: the regions of an ultrasound image that are calibrated, each with its spacing.
        aspect: the height of a pixel divided by its width.
        everywhere: whether the spacing holds in the whole image.
    """

    spacing_mm: Spacing | None = None
    origin: Origin | None = None
    regions: tuple[tuple[Box, Spacing], ...] = ()
    aspect: float = 1.0
    everywhere: bool = True


def measures_of(header: FrameHeader) -> Measures:
    """The spacing of a frame with its origin; what is not credible is unknown."""
    root = header.root
    regions = _regions(root)
    if regions:
        spacings = {spacing for _, spacing in regions}
        shared = spacings.pop() if len(spacings) == 1 else None
        aspect = _aspect(shared) if shared else _stated_aspect(root)
        width, height = int(root.Columns), int(root.Rows)
        everywhere = shared is not None and regions[0][0] == (0.0, 0.0, width, height)
        return Measures(shared, "patient" if shared else None, regions, aspect, everywhere)
    spacing, origin = _spacing(header)
    aspect = _aspect(spacing) if spacing else _stated_aspect(root)
    return Measures(spacing, origin, (), aspect)


def _spacing(header: FrameHeader) -> tuple[Spacing | None, Origin | None]:
    root = header.root
    at_object = _calibrated_projection(root)
    if at_object is not None:
        return at_object, "patient"
    holder = header.holder("PixelMeasuresSequence", "PixelSpacing")
    given = credible_spacing(holder.get("PixelSpacing"))
    framed = header.holder("FramePixelDataPropertiesSequence", "ImagerPixelSpacing")
    detector = credible_spacing(framed.get("ImagerPixelSpacing")) or credible_spacing(
        root.get("NominalScannedPixelSpacing")
    )
    if given is not None:
        if str(root.get("PixelSpacingCalibrationType") or "").strip():
            return given, "patient"
        # Pixel measures are those of a reconstruction, such as a slice of a tomosynthesis.
        projected = header.text("Modality") in PROJECTIONS and holder is root
        if detector is None and not projected:
            return given, "patient"
        if detector is not None and not _alike(given, detector):
            return given, "patient"  # the standard: where the two differ, it was calibrated
        detector = given
    if detector is None:
        return None, None
    factor = _magnification(root)
    if factor is None:
        return detector, "detector"
    return (detector[0] / factor, detector[1] / factor), "patient"


def _alike(one: Spacing, other: Spacing) -> bool:
    return all(abs(a - b) <= _SAME * b for a, b in zip(one, other, strict=True))


def _magnification(root: Any) -> float | None:
    """How much larger the image is at the detector than in the patient; None if unknown."""
    factor = _positive(root.get("EstimatedRadiographicMagnificationFactor"))
    if factor is None:
        detector = _positive(root.get("DistanceSourceToDetector"))
        patient = _positive(root.get("DistanceSourceToPatient"))
        if detector is None or patient is None:
            return None
        factor = detector / patient
    return factor if 1.0 <= factor <= MOST_MAGNIFIED else None


def _calibrated_projection(root: Any) -> Spacing | None:
    for item in (root.get("ProjectionPixelCalibrationSequence") or ())[:1]:
        return credible_spacing(item.get("ObjectPixelSpacingInCenterOfBeam"))
    return None


def _positive(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0.0 < number < float("inf") else None


def _regions(root: Any) -> tuple[tuple[Box, Spacing], ...]:
    """The two-dimensional regions that are measured in centimetres both ways."""
    found = []
    for item in root.get("SequenceOfUltrasoundRegions") or ():
        try:
            units = int(item.PhysicalUnitsXDirection), int(item.PhysicalUnitsYDirection)
            flat = int(item.RegionSpatialFormat) == _TWO_DIMENSIONAL
            spacing = credible_spacing(
                (10 * abs(float(item.PhysicalDeltaY)), 10 * abs(float(item.PhysicalDeltaX)))
            )
            box = (
                float(item.RegionLocationMinX0),
                float(item.RegionLocationMinY0),
                float(item.RegionLocationMaxX1) + 1,
                float(item.RegionLocationMaxY1) + 1,
            )
        except (AttributeError, TypeError, ValueError, OverflowError):
            continue
        if flat and units == (_CENTIMETRES, _CENTIMETRES) and spacing is not None:
            found.append((box, spacing))
    return tuple(found)


def _aspect(spacing: Spacing) -> float:
    return spacing[0] / spacing[1]


def _stated_aspect(root: Any) -> float:
    """PixelAspectRatio: the vertical and the horizontal side of a pixel."""
    given = root.get("PixelAspectRatio")
    try:
        vertical, horizontal = (float(each) for each in given)
    except (TypeError, ValueError, OverflowError):
        return 1.0
    return vertical / horizontal if vertical > 0 and horizontal > 0 else 1.0
