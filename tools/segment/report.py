"""What a policy reads and sees of what was found on one image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medgym.errors import ToolError
from medgym.imaging.study import Box
from medgym.tool import ToolResult
from medgym.workspace import View, Workspace

from .intensity import Intensity, intensity
from .measure import Runs
from .request import Binary, Segmentation, SegmentRequest

NAME = "segment"

OUTLINE = (0, 255, 0)


def report(
    found: Segmentation, request: SegmentRequest, workspace: Workspace, view: View
) -> ToolResult:
    """The region with the outline drawn on, and the measures as text and as `data`."""
    runs = Runs.of(found)
    measured = measures(runs, request)
    score = percent(found.score)
    box = ", ".join(str(round(value)) for value in view.from_px(runs.box_px, workspace.scale(view)))
    levels = intensity(request, runs)
    text = f"{size_in_words(measured)}, box [{box}] of view {view.number}"
    text += f", {levels}. " if levels else ". "
    data: dict[str, Any] = {"image": view.image, "box_px": list(runs.box_px)} | measured
    if request.image.has_many:
        data |= {"plane": request.place.plane, "index": request.place.index}
    data["mask"] = runs.mask(request.size).model_dump(mode="json")
    data |= as_data(levels) | {"score": score / 100}
    shown = outlined(found, request, workspace, view)
    return ToolResult(text + f"It is {score} % sure.", (shown,), data)


def measures(runs: Runs, request: SegmentRequest) -> dict[str, float]:
    """`area_px`, and where the patient's millimetres are known `area_mm2` and `length_mm`, else
    `length_px`."""
    spacing = spacing_of(request, runs.box_px)
    if spacing is None:
        return {"area_px": runs.area_px, "length_px": runs.diameter((1.0, 1.0))}
    return {
        "area_px": runs.area_px,
        "area_mm2": runs.area_px * spacing[0] * spacing[1],
        "length_mm": runs.diameter(spacing),
    }


def spacing_of(request: SegmentRequest, box_px: Box) -> tuple[float, float] | None:
    """Millimetres of the patient per pixel in a box as (row, column), None where unknown."""
    try:
        return request.image.at(request.place).spacing_in(box_px)
    except ToolError:  # too large to be decoded whole
        plane = request.image.planes[request.place.plane]
        return plane.spacing_mm if plane.spacing_origin == "patient" else None


def size_in_words(measured: dict[str, float]) -> str:
    """The area and the longest diameter."""
    if "area_mm2" in measured:
        return (
            f"Area {measured['area_mm2']:.1f} mm2, longest diameter {measured['length_mm']:.1f} mm"
        )
    return f"Area {measured['area_px']} px, longest diameter {measured['length_px']:.1f} px"


def as_data(levels: Intensity | None) -> dict[str, Any]:
    """The means, where there are any."""
    if levels is None:
        return {}
    return {
        "mean_inside": levels.inside,
        "mean_around": levels.around,
        "unit": "grey" if levels.unit is None else levels.unit,
    }


def percent(score: float) -> int:
    """How sure it is, 0 to 100."""
    return round(100 * min(max(score, 0.0), 1.0))


def outlined(
    found: Segmentation, request: SegmentRequest, workspace: Workspace, view: View
) -> View:
    """A view of the region of what was found, with the inner edge of it in `OUTLINE`."""
    place = request.place
    shown = workspace.look(view.image, found.region_px, enlarge=True, made_by=NAME, **vars(place))
    picture = Image.fromarray(drawn(np.array(shown.picture), found.mask))
    return workspace.overlay(shown, picture, NAME)


def drawn(pixels: NDArray[np.uint8], mask: Binary) -> NDArray[np.uint8]:
    """The picture of a region with the inner edge of a mask of the same region."""
    height, width = pixels.shape[:2]
    rows = np.arange(height) * mask.shape[0] // height
    columns = np.arange(width) * mask.shape[1] // width
    shown = np.pad(mask[np.ix_(rows, columns)], 1)
    core = shown[:-2, 1:-1] & shown[2:, 1:-1] & shown[1:-1, :-2] & shown[1:-1, 2:]
    pixels[shown[1:-1, 1:-1] & ~core] = OUTLINE
    return pixels
