"""What a policy reads and sees of a structure that was found through a volume."""

from dataclasses import replace
from typing import Any

import numpy as np

from medgym.errors import UserError
from medgym.imaging.volumes.study import VolumeStudy
from medgym.tool import ToolResult
from medgym.workspace import View, Workspace

from .measure import Runs
from .report import measures, outlined, percent, spacing_of
from .request import SegmentationThrough, SegmentRequest


def report_through(
    found: SegmentationThrough, request: SegmentRequest, workspace: Workspace, view: View
) -> ToolResult:
    """The outline on the image of the longest diameter, and the measures as text and as `data`.

    The mask of each image is in `data["masks"]`, by index.
    """
    runs = {index: Runs.of(each) for index, each in found.images.items()}
    each = {index: measures(every, request.at(index)) for index, every in runs.items()}
    length = "length_mm" if all("length_mm" in one for one in each.values()) else "length_px"
    if length == "length_px":
        lengths = {index: every.diameter((1.0, 1.0)) for index, every in runs.items()}
    else:
        lengths = {index: one["length_mm"] for index, one in each.items()}
    longest = max(lengths, key=lambda index: (lengths[index], -abs(index - request.place.index)))
    voxels = sum(every.area_px for every in runs.values())
    data: dict[str, Any] = {
        "image": view.image,
        "plane": request.place.plane,
        "index": longest,
        "slices": [min(runs), max(runs)],
        "voxels": voxels,
        length: lengths[longest],
    }
    cubic = _voxel_mm3(request, runs[longest])
    if cubic is None:
        size = f"Volume {voxels} voxels"
    else:
        data["volume_ml"] = voxels * cubic / 1000
        size = f"Volume {data['volume_ml']:.3g} ml"
    score = percent(found.score)
    text = (
        f"{size}, on {request.place.plane} {min(runs)} to {max(runs)}; longest diameter "
        f"{lengths[longest]:.1f} {length[-2:]} on {longest}, which is shown. "
    )
    here = request.at(longest)
    data |= {
        "box_px": list(runs[longest].box_px),
        "masks": [
            {"index": index, "mask": every.mask(here.size).model_dump(mode="json")}
            for index, every in runs.items()
        ],
        "score": score / 100,
    }
    shown = outlined(found.images[longest], here, workspace, view)
    return ToolResult(f"{text}It is {score} % sure.", (shown,), data)


def _voxel_mm3(request: SegmentRequest, runs: Runs) -> float | None:
    """Cubic millimetres of a voxel; None where they are unknown."""
    study, place = request.image.study, request.place
    last = request.image.planes[place.plane].count - 1
    if last < 1:
        return None
    low = min(place.index, last - 1)
    if isinstance(study, VolumeStudy):
        corner = np.array(study.to_patient(place.plane, low, (0.0, 0.0)))
        across = np.array(study.to_patient(place.plane, low, (1.0, 0.0))) - corner
        down = np.array(study.to_patient(place.plane, low, (0.0, 1.0))) - corner
        deep = np.array(study.to_patient(place.plane, low + 1, (0.0, 0.0))) - corner
        return abs(float(np.linalg.det(np.stack([across, down, deep])))) or None
    spacing = spacing_of(request, runs.box_px)
    try:
        ends = [request.image.place_mm(replace(place, index=low + i, slab=None)) for i in (0, 1)]
    except UserError:
        return None
    if spacing is None or ends[0] is None or ends[1] is None:
        return None
    return spacing[0] * spacing[1] * abs(ends[1] - ends[0]) or None
