"""`measure`: lengths, angles, areas and intensities, in the patient's units where they are known.

Points are exact: in original pixels, whatever the size of the view. Millimetres are those of the
patient, or none: a spacing at the detector or film is magnified, so a length is given in pixels.
"""

import math
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medgym.errors import ToolError
from medgym.imaging.spacing import Origin, Spacing
from medgym.imaging.study import Box, Study
from medgym.tool import BoxArgument, PointsArgument, Tool, ToolArgs, ToolResult, ViewNumber
from medgym.workspace import View, Workspace

Kind = Literal["length", "angle", "area", "intensity"]

Points = NDArray[np.float64]
"""(n, 2): x and y in original pixels."""

FLAT = 1e-9
"""The share of the square over its extent from which the points of a polygon lie on a line."""

COLOURS = ("red", "green", "blue")


class Measure(Tool):
    """Measure a length (2 points), an angle (3 points, its corner the second; or 4, two lines), an
    area or the intensity (a box, or the 3 or more corners of a polygon)."""

    name = "measure"

    class Args(ToolArgs):
        """What to measure, and where."""

        view: ViewNumber
        kind: Kind
        points: PointsArgument | None = None
        box: Annotated[BoxArgument | None, Field(description="instead of points")] = None

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        """The measure as text.

        `data` holds `image`, `spacing_mm` (row, column) and `spacing_origin` ("patient",
        "detector" or null), and by kind: `length_px`, `angle_degrees`, `area_px`, or `unit`,
        `pixels`, `mean`, `sd`, `min`, `max`; `length_mm` and `area_mm2` where the spacing is the
        patient's.
        """
        view = workspace.view(args.view)
        given = _given(args, workspace)
        frame = *given.min(axis=0).tolist(), *given.max(axis=0).tolist()
        spacing, origin = workspace.images[view.image].spacing(view.place, frame)
        data: dict[str, Any] = {
            "image": view.image,
            "spacing_mm": None if spacing is None else list(spacing),
            "spacing_origin": origin,
        }
        millimetres = spacing if origin == "patient" else None
        if args.kind == "angle":
            text = _angle(given, _proportions(workspace, view, spacing), data)
        elif args.kind == "length":
            text = _length(given, millimetres, origin, data)
        elif args.kind == "area":
            text = f"Area {_area(given, millimetres, data)}{_why(millimetres, origin)}."
        else:
            text = _intensity(args, given, workspace, view, millimetres, data)
        return ToolResult(text, data=data)


def _given(args: Measure.Args, workspace: Workspace) -> Points:
    """The points, or the corners of the box, in original pixels."""
    kind = args.kind
    expected = {"length": "2 points", "angle": "3 or 4 points"}.get(
        kind, "either a box or 3 or more points"
    )
    takes_box = kind in ("area", "intensity")
    if (args.points is None) == (args.box is None) or (args.box is not None and not takes_box):
        raise ToolError(f"measure: expected {expected} for the {kind}", "name")
    if args.box is not None:
        workspace.box_px(args.view, args.box)  # which says what is wrong with it
        x0, y0 = workspace.point_px(args.view, args.box[:2])
        x1, y1 = workspace.point_px(args.view, args.box[2:])
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    assert args.points is not None
    fits = {"length": (2, 2), "angle": (3, 4)}.get(kind, (3, math.inf))
    if not fits[0] <= len(args.points) <= fits[1]:
        raise ToolError(
            f"measure: expected {expected} for the {kind}, not {len(args.points)} points", "type"
        )
    return np.array([workspace.point_px(args.view, point) for point in args.points])


def _length(
    given: Points, spacing: Spacing | None, origin: Origin | None, data: dict[str, Any]
) -> str:
    across, down = given[1] - given[0]
    data["length_px"] = math.hypot(across, down)
    if data["length_px"] == 0:
        raise ToolError("measure: the two points are the same; expected two different points")
    if spacing is None:
        return f"Length {plain(data['length_px'])} px{_why(spacing, origin)}."
    data["length_mm"] = math.hypot(down * spacing[0], across * spacing[1])
    return f"Length {plain(data['length_mm'])} mm."


def _angle(given: Points, proportions: tuple[float, float], data: dict[str, Any]) -> str:
    points = given * np.array([proportions[1], proportions[0]])
    if len(points) == 3:
        one, other = points[0] - points[1], points[2] - points[1]
    else:
        one, other = points[1] - points[0], points[3] - points[2]
    if not one.any() or not other.any():
        raise ToolError("measure: two of the points are the same; expected different points")
    turned = math.atan2(abs(float(one[0] * other[1] - one[1] * other[0])), float(one @ other))
    data["angle_degrees"] = math.degrees(turned)
    return f"Angle {data['angle_degrees']:.1f} degrees."


def _proportions(workspace: Workspace, view: View, spacing: Spacing | None) -> tuple[float, float]:
    """The height and width of a pixel. A magnified one has the proportions of the patient too."""
    if spacing is not None:
        return spacing
    return workspace.images[view.image].aspect(view.place), 1.0


def _area(given: Points, spacing: Spacing | None, data: dict[str, Any]) -> str:
    given = given[(given != np.roll(given, 1, axis=0)).any(axis=1)]  # one closed by its first
    if crossing(given):
        raise ToolError(
            "measure: sides of the polygon cross or touch; expected its corners in order"
        )
    if len(given) < 3:
        raise ToolError("measure: corners are the same; expected 3 different points or more")
    x, y = given[:, 0] - given[:, 0].min(), given[:, 1] - given[:, 1].min()
    area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    if area <= FLAT * (float(x.max()) ** 2 + float(y.max()) ** 2):
        raise ToolError("measure: the points lie on a line; expected the corners of a polygon")
    data["area_px"] = area
    if spacing is None:
        return f"{plain(area)} px"
    data["area_mm2"] = area * spacing[0] * spacing[1]
    return f"{plain(data['area_mm2'])} mm2"


def _why(spacing: Spacing | None, origin: Origin | None) -> str:
    """Why there are no millimetres."""
    if spacing is not None:
        return ""
    if origin == "detector":
        return "; the spacing is that of the detector, not of the patient"
    return "; the spacing is unknown"


def _intensity(
    args: Measure.Args,
    given: Points,
    workspace: Workspace,
    view: View,
    spacing: Spacing | None,
    data: dict[str, Any],
) -> str:
    if args.box is not None:
        box_px = workspace.box_px(args.view, args.box)
    else:
        _area(given, None, data)
        low, high = np.floor(given.min(axis=0)), np.ceil(given.max(axis=0))
        box_px = float(low[0]), float(low[1]), float(high[0]), float(high[1])
    study = workspace.images[view.image].region(view.place, box_px)
    within = np.ones(study.pixels.shape[:2], np.bool_)
    if args.box is None:
        within = _filled(given, box_px)
    values = _values(study, within)
    if not len(values):
        raise ToolError("measure: no pixel with a value lies there; expected a larger region")
    unit = study.unit or ("grey levels" if study.window is None else None)
    data |= {"unit": study.unit, "pixels": len(values), "area_px": float(len(values))}
    size = ""
    if spacing is not None:
        data["area_mm2"] = len(values) * spacing[0] * spacing[1]
        size = f", {plain(data['area_mm2'])} mm2"
    named = COLOURS if values.ndim == 2 else ("",)
    columns = values.T if values.ndim == 2 else values[None]
    found = [_statistics(column) for column in columns]
    for place, key in enumerate(("mean", "sd", "min", "max")):
        each = [numbers[place] for numbers in found]
        data[key] = each if values.ndim == 2 else each[0]
    said = "; ".join(
        f"{colour} {plain(mean)}{f' {unit}' if unit else ''}, sd {plain(sd)}, "
        f"{plain(least)} to {plain(most)}".strip()
        for colour, (mean, sd, least, most) in zip(named, found, strict=True)
    )
    return f"Mean {said}; {len(values)} pixels{size}."


def _filled(given: Points, box_px: Box) -> NDArray[np.bool_]:
    """Which pixels of a box have their centre in a polygon."""
    from skimage.measure import grid_points_in_poly

    shape = int(box_px[3] - box_px[1]), int(box_px[2] - box_px[0])
    corners = given[:, ::-1] - np.array([box_px[1], box_px[0]]) - 0.5
    return np.asarray(grid_points_in_poly(shape, corners), np.bool_)


def _values(study: Study, within: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The measured values that are numbers: (n,), or (n, 3) of colours."""
    if study.hidden is not None:
        within = within & ~study.hidden
    values: NDArray[np.float64] = study.pixels[within].astype(np.float64)
    known = np.isfinite(values)
    return values[known if values.ndim == 1 else known.all(axis=1)]


def _statistics(values: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Mean, standard deviation (of these pixels, not of a sample), least and greatest."""
    least, most = float(values.min()), float(values.max())
    scale = max(abs(least), abs(most)) or 1.0  # so that no square is too large for a float
    shares = values / scale
    mean = min(max(float(shares.mean()) * scale, least), most)
    return mean, float(shares.std()) * scale, least, most


def crossing(given: Points) -> bool:
    """Whether two sides of a polygon cross or touch, other than at a corner that they share."""
    ends = np.roll(given, -1, axis=0)
    count = len(given)
    for one in range(count):
        for other in range(one + 2, count - (one == 0)):
            if _meet(given[one], ends[one], given[other], ends[other]):
                return True
    return False


def _meet(a: Points, b: Points, c: Points, d: Points) -> bool:
    def side(p: Points, q: Points, r: Points) -> float:
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    def touches(p: Points, q: Points, r: Points) -> bool:
        return side(p, q, r) == 0 and bool(
            ((np.minimum(p, q) <= r) & (r <= np.maximum(p, q))).all()
        )

    if side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0:
        return True
    return touches(a, b, c) or touches(a, b, d) or touches(c, d, a) or touches(c, d, b)


def plain(value: float) -> str:
    """A number as a report has it: one decimal, three digits below 1, no more than seven above."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e7 or size < 1e-6:
        return f"{value:.3g}"
    return f"{value:.1f}" if size >= 1 else f"{value:.{2 - math.floor(math.log10(size))}f}"
