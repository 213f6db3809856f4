"""The text of the first message of an episode, and the line that announces a view."""

from medgym.cases import LETTERS, Case
from medgym.errors import UserError
from medgym.imaging.opened import OpenedImage
from medgym.workspace import View, Workspace

MOST_PLANES = 8
"""How many other planes of an image a question names."""


def question_of(case: Case, workspace: Workspace) -> str:
    """The views that an episode starts with, the context, the question and its options."""
    lines = []
    whole, shown = workspace.views[: len(case.images)], workspace.views[len(case.images) :]
    for ref, view in zip(case.images, whole, strict=True):
        lines.append(first_line_of(view, workspace, ref.role))
    for given, view in zip(case.views, shown, strict=True):
        by = f" Shown by: {given.by}." if given.by else ""
        lines.append(f"{caption_of(view, workspace)}{by}")
    if case.context:
        lines.append(f"Context: {case.context}")
    lines.append(f"Question: {case.question}")
    if case.options:
        if len(case.options) > len(LETTERS):
            raise UserError(f"{case.id} has over {len(LETTERS)} options; fix: offer fewer")
        lines.append("Options:")
        lines += [f"{a}. {text}" for a, text in zip(LETTERS, case.options, strict=False)]
    return "\n".join(lines)


def first_line_of(view: View, workspace: Workspace, role: str) -> str:
    """What a view with which an episode starts shows, and what else can be shown of its image."""
    opened = workspace.images[view.image]
    prior = ", prior" if role == "prior" else ""
    width, height = opened.start.size
    return (
        f"View {view.number}: image {view.image}{prior}, {width} x {height} pixels"
        f"{place_text(view, workspace)}.{_other_planes(view, opened)}"
    )


def caption_of(view: View, workspace: Workspace) -> str:
    """What a view shows, in a line."""
    width, height = (round(view.box_px[i + 2] - view.box_px[i]) for i in (0, 1))
    place = place_text(view, workspace)
    return f"View {view.number}: {width} x {height} pixels of image {view.image}{place}."


def place_text(view: View, workspace: Workspace) -> str:
    """The plane, the index, the slab and the window of a view, as far as there is more than one."""
    said = ""
    opened = workspace.images[view.image]
    if opened.has_many:
        last = opened.planes[view.plane].count - 1
        said = f", {view.plane} {view.index}" + (f" of 0 to {last}" if last else "")
        if view.slab is not None:
            said += f", {view.slab.how} of {len(view.slab.around(view.index, last + 1))}"
    if view.window is not None:
        said += f", window {view.window.centre:g}, {view.window.width:g}"
    return said


def _other_planes(view: View, opened: OpenedImage) -> str:
    others = [
        f"{name} 0 to {plane.count - 1}" for name, plane in opened.planes.items()
        if name != view.plane
    ]  # fmt: skip
    if not others:
        return ""
    more = f", {len(others) - MOST_PLANES} more" if len(others) > MOST_PLANES else ""
    return f" Other planes: {', '.join(others[:MOST_PLANES])}{more}."
