"""Splits slices into volumes, and puts the slices of each in the order of their positions.

Neither names nor numbers of files count. What cannot be put in order is refused, with the reason.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.errors import UserError
from medgym.imaging.series.slices import HASHED, Slice
from medgym.imaging.volumes.grid import VoxelGrid, closest_axes
from medgym.uris import in_a_table

SAME_MM = 1e-3
"""Slices that are no further apart are at one position."""

UNEVEN_MM = 0.09
"""How far a slice may lie from where even distances put it, and a tenth of the distance at most."""

_SAME_DIRECTION = 1e-3
_SAME_SPACING = 1e-4
_MOST_LABELS = 8


@dataclass(frozen=True)
class Stack:
    """Files that belong together.

    Attributes:
        label: what a case calls it. It says nothing of the patient.
        slices: in the order of their positions. grid: where they are; None where the files say no
            positions, or hold several frames.
        differs: what tells it from the others of its series.
    """

    label: str
    slices: tuple[Slice, ...]
    grid: VoxelGrid | None
    differs: str = ""

    def __str__(self) -> str:
        first = self.slices[0]
        plane = f" {self.grid.acquired}" if self.grid else ""
        size = f"{first.size[0]} x {first.size[1]}"
        many = f" of {first.frames} frames" if first.frames > 1 else ""
        return f"{self.label} ({len(self.slices)}{plane} {size}{many}{self.differs})"


def chosen_stack(slices: Iterable[Slice], path: Path, series: str | None) -> Stack:
    """The volume that is meant.

    Args:
        series: its label; None where there is only one.

    Raises:
        UserError: there are several and none is named, or its slices cannot be put in order.
    """
    labelled = _labelled(_split(slices, path))
    if not labelled:
        raise UserError(f"{path} holds no DICOM image; fix: name another folder")
    if series is None and len(labelled) == 1:
        label, members, differs = labelled[0]
        return _ordered(label, members, differs, path)
    for label, members, differs in labelled:
        if label == series:
            return _ordered(label, members, differs, path)
    listed = [str(_briefly(*each)) for each in labelled[:_MOST_LABELS]]
    more = f" and {len(labelled) - len(listed)} more" if len(labelled) > len(listed) else ""
    said = "several series" if series is None else f"no series {series[:40]!r}"
    if series is not None and HASHED.fullmatch(series):
        said += " (a label, or what is shown here of a SeriesInstanceUID)"
    raise UserError(
        f"{path} holds {said}; fix: name one of {', '.join(listed)}{more}; "
        f"{in_a_table(path, labelled[0][0])}"
    )


def labels_of(slices: Iterable[Slice], path: Path) -> list[str]:
    """The labels of all volumes, as `chosen_stack` takes them."""
    return [label for label, _, _ in _labelled(_split(slices, path))]


def makes_volume(slices: Iterable[Slice], path: Path) -> bool:
    """Whether some of the images lie behind each other, and are not one place at several times."""
    return any(
        len(group) > 1
        and group[0].position is not None
        and group[0].orientation is not None
        and bool(np.ptp(_distances(group)) > SAME_MM)
        for group in _split(slices, path)
    )


_Labelled = tuple[str, list[Slice], str]


def _labelled(groups: list[list[Slice]]) -> list[_Labelled]:
    """The volumes by label, in an order that does not depend on that of the files.

    A label goes with the files of its volume: other files beside them never make it name another.
    """
    series: defaultdict[str, list[list[Slice]]] = defaultdict(list)
    for group in groups:
        series[group[0].series or "unnamed"].append(group)
    found: list[_Labelled] = []
    for label, parts in sorted(series.items()):
        parts.sort(key=_sorting)
        names = [f"{label}.{min(each.instance for each in part)[:4]}" for part in parts]
        for number, part in enumerate(parts):
            name = names[number] if names.count(names[number]) == 1 else f"{label}.{number}"
            found.append((label if len(parts) == 1 else name, part, _differs(part, parts)))
    return found


def _sorting(group: list[Slice]) -> tuple[Any, ...]:
    first = group[0]
    numbers = [
        (value is not None, isinstance(value, str), str(value) if isinstance(value, str) else "",
         value if isinstance(value, float) else 0.0)
        for _, value in (*first.kind, *first.repeats)
    ]  # fmt: skip
    return (
        first.size,
        first.orientation or (),
        first.spacing or (),
        numbers,
        sorted(each.instance for each in group),
    )


def _differs(group: list[Slice], others: list[list[Slice]]) -> str:
    """The numbers in which a volume differs from others of its series."""
    said = ""
    for place, (name, value) in enumerate((*group[0].kind, *group[0].repeats)):
        values = {(*each[0].kind, *each[0].repeats)[place][1] for each in others}
        if len(values) > 1 and isinstance(value, float):
            said += f", {name} {value:g}"
    return said


def _briefly(label: str, members: list[Slice], differs: str) -> Stack:
    grid = None
    first = members[0]
    if first.orientation is not None and first.position is not None:
        grid = VoxelGrid((*first.size, 1), _affine(first, None), stored=True)
    return Stack(label, tuple(members), grid, differs)


def _split(slices: Iterable[Slice], path: Path) -> list[list[Slice]]:
    groups: defaultdict[tuple[Any, ...], list[Slice]] = defaultdict(list)
    for number, each in enumerate(slices):
        # A file of several frames, or without a place, is shown for itself.
        alone = number if each.frames > 1 or each.position is None else -1
        groups[each.series, each.size, each.kind, alone].append(each)
    found: list[list[Slice]] = []
    for group in groups.values():
        for turned in _alike(group, lambda each: each.orientation, _SAME_DIRECTION):
            for spaced in _alike(turned, lambda each: each.spacing, _SAME_SPACING):
                found += _apart(spaced)
    return found


def _alike(
    group: list[Slice], value: Callable[[Slice], tuple[float, ...] | None], tolerance: float
) -> list[list[Slice]]:
    """Groups whose values are the same within a tolerance."""
    found: list[tuple[tuple[float, ...] | None, list[Slice]]] = []
    for each in group:
        own = value(each)
        for first, members in found:
            if (own is None) == (first is None) and (
                own is None
                or first is None
                or own == first
                or np.allclose(own, first, rtol=0, atol=tolerance)
            ):
                members.append(each)
                break
        else:
            found.append((own, [each]))
    return [members for _, members in found]


def _apart(group: list[Slice]) -> list[list[Slice]]:
    """Slices at one position, set apart by the first thing that tells them all apart."""
    if not _repeats(group):
        return [group]
    for place in range(len(group[0].repeats)):
        parts: defaultdict[Any, list[Slice]] = defaultdict(list)
        for each in group:
            parts[each.repeats[place][1]].append(each)
        places = [sorted(_distances(part)) for part in parts.values()]
        same = all(
            len(each) == len(places[0]) and np.allclose(each, places[0], rtol=0, atol=SAME_MM)
            for each in places
        )
        if len(parts) > 1 and same and not any(_repeats(part) for part in parts.values()):
            return list(parts.values())
    return [group]


def _repeats(group: Sequence[Slice]) -> bool:
    if group[0].position is None or group[0].orientation is None or len(group) < 2:
        return False
    return bool(np.diff(np.sort(_distances(group))).min() <= SAME_MM)


def _distances(group: Sequence[Slice]) -> NDArray[np.float64]:
    """How far along the normal each slice lies, toward the patient's left, back or head."""
    normal = _normal(group[0])
    return np.array([each.position for each in group], np.float64) @ normal


def _normal(first: Slice) -> NDArray[np.float64]:
    assert first.orientation is not None
    row, column = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    normal = np.cross(row, column)
    patient = closest_axes(np.stack([row, column, normal], axis=1))[2]
    return normal if normal[patient] >= 0 else -normal


def _affine(first: Slice, step: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """From (column, row, slice) to the patient."""
    assert first.orientation is not None
    assert first.position is not None
    down, across = first.spacing or (1.0, 1.0)
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.orientation[:3]) * across
    affine[:3, 1] = np.array(first.orientation[3:]) * down
    affine[:3, 2] = _normal(first) if step is None else step
    affine[:3, 3] = first.position
    return affine


def _ordered(label: str, members: list[Slice], differs: str, path: Path) -> Stack:
    first = members[0]
    if first.frames > 1:
        return Stack(label, tuple(members), None, differs)
    if first.position is None or first.orientation is None or first.spacing is None:
        if len(members) == 1:
            return Stack(label, tuple(members), None, differs)
        what = "positions" if first.spacing is not None else "distances of pixels"
        raise UserError(
            f"the {len(members)} images of {label} in {path} have no {what}, so nothing says how "
            "they lie to each other; fix: name one file"
        )
    distances = _distances(members)
    order = np.argsort(distances, kind="stable")
    slices = tuple(members[place] for place in order)
    step = _step(label, slices, distances[order], path)
    grid = VoxelGrid((*first.size, len(slices)), _affine(slices[0], step), stored=True)
    return Stack(label, slices, grid, differs)


def _step(
    label: str, slices: tuple[Slice, ...], distances: NDArray[np.float64], path: Path
) -> NDArray[np.float64] | None:
    """From one slice to the next; None for a single slice."""
    if len(slices) < 2:
        return None
    gaps = np.diff(distances)
    repeated = int((gaps <= SAME_MM).sum())
    if repeated:
        copies = len(slices) - len({each.instance for each in slices})
        how = f" ({copies} of them copies of another file)" if copies else ""
        raise UserError(
            f"{repeated} image(s) of {label} in {path} lie where another one does{how}; fix: "
            "remove one of each"
        )
    usual = float(np.median(gaps))
    allowed = min(UNEVEN_MM, 0.1 * usual)
    for place in (int(gaps.argmax()), int(gaps.argmin())):
        if abs(gaps[place] - usual) > 2 * allowed:
            raise UserError(
                f"the images of {label} in {path} are {usual:g} mm apart, but {gaps[place]:.3g} mm "
                f"between the images {place} and {place + 1}; fix: copy all images of the series"
            )
    positions = np.array([each.position for each in slices], np.float64)
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    even = positions[0] + np.arange(len(slices))[:, np.newaxis] * step
    if np.linalg.norm(positions - even, axis=1).max() > allowed:
        raise UserError(
            f"the images of {label} in {path} do not lie behind each other at even distances; fix: "
            "copy all images of the series"
        )
    return np.asarray(step)
