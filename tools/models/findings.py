"""What an expert finds, in plain words: a numbered list with scores, and boxes drawn on a view."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from medgym.imaging.study import Box
from medgym.workspace import View, Workspace

from .asked import AskedRegion

OUTLINE = (0, 255, 0)
"""The colour of what a tool marks."""

LETTER = 10
"""The height of a number beside a box, in pixels."""


@dataclass(frozen=True)
class ExpertFinding:
    """Something that is, or may be, in a region.

    Attributes:
        label: what it is; empty where that may not be told.
        score: how sure the expert is, 0 to 1.
        box_px: where it is, in original pixels; None where it is not said.
        point_px: where its middle is, where only that may be told.
    """

    label: str
    score: float
    box_px: Box | None = None
    point_px: tuple[float, float] | None = None

    def as_data(self) -> dict[str, Any]:
        """The finding as a record has it."""
        data: dict[str, Any] = {"label": self.label, "score": round(self.score, 4)}
        if self.box_px is not None:
            data["box_px"] = [round(edge, 2) for edge in self.box_px]
        if self.point_px is not None:
            data["point_px"] = [round(value, 2) for value in self.point_px]
        return data


def sentence(finding: ExpertFinding, workspace: Workspace, view: View) -> str:
    """`nodule 0.82 at [120, 300, 380, 560]`, in the coordinates of a view."""
    said = f"{finding.label or 'finding'} {finding.score:.2f}"
    if finding.box_px is not None:
        box = view.from_px(finding.box_px, workspace.scale(view))
        return f"{said} at [{', '.join(str(round(edge)) for edge in box)}]"
    if finding.point_px is not None:
        point = view.from_px((*finding.point_px, *finding.point_px), workspace.scale(view))
        return f"{said} around [{round(point[0])}, {round(point[1])}]"
    return said


def listed(findings: Sequence[ExpertFinding], workspace: Workspace, view: View) -> str:
    """The findings as a numbered list, one a line."""
    lines = (
        f"{number}. {sentence(each, workspace, view)}" for number, each in enumerate(findings, 1)
    )
    return "\n".join(lines)


def best(findings: Sequence[ExpertFinding], threshold: float, top: int) -> list[ExpertFinding]:
    """The surest findings of at least `threshold`, at most `top`; ties in the expert's order."""
    kept = [each for each in findings if each.score >= threshold]
    return sorted(kept, key=lambda each: -each.score)[:top]


def outlined(asked: AskedRegion, findings: Sequence[ExpertFinding], made_by: str) -> View | None:
    """The region that was asked about with the boxes on it, numbered; None without boxes."""
    boxes = [(number, f.box_px) for number, f in enumerate(findings, 1) if f.box_px is not None]
    if not boxes:
        return None
    workspace, view = asked.workspace, asked.view
    if not asked.is_whole:
        view = workspace.look(
            view.image, asked.box_px, enlarge=True, made_by=made_by, **vars(view.place)
        )
    drawn = view.picture.convert("RGB")
    _draw(drawn, view, boxes)
    return workspace.overlay(view, drawn, made_by)


def _draw(drawn: Image.Image, view: View, boxes: Sequence[tuple[int, Box]]) -> None:
    pen = ImageDraw.Draw(drawn)
    font = ImageFont.load_default(LETTER)
    width, height = drawn.size
    for number, box_px in boxes:
        x0, y0, x1, y1 = view.from_px(box_px, (float(width), float(height)))
        left, top = min(max(0, round(x0)), width - 1), min(max(0, round(y0)), height - 1)
        right, bottom = min(max(left, round(x1) - 1), width - 1), max(top, round(y1) - 1)
        pen.rectangle((left, top, right, min(bottom, height - 1)), outline=OUTLINE)
        above = top - LETTER - 2 if top > LETTER + 2 else top + 2
        pen.text((left + 2, above), str(number), fill=OUTLINE, font=font)
