"""The text of the first message of an episode, and the line that announces a view."""

from medgym.cases import LETTERS, Case
from medgym.errors import UserError
from medgym.workspace import View, Workspace


def question_of(case: Case, workspace: Workspace) -> str:
    """The views that an episode starts with, the context, the question and its options."""
    lines = []
    whole, shown = workspace.views[: len(case.images)], workspace.views[len(case.images) :]
    for ref, view, study in zip(case.images, whole, workspace.studies, strict=True):
        role = ", prior" if ref.role == "prior" else ""
        width, height = study.size
        lines.append(f"View {view.number}: image {view.image}{role}, {width} x {height} pixels.")
    for given, view in zip(case.views, shown, strict=True):
        by = f" Shown by: {given.by}." if given.by else ""
        lines.append(f"{caption_of(view)}{by}")
    if case.context:
        lines.append(f"Context: {case.context}")
    lines.append(f"Question: {case.question}")
    if case.options:
        if len(case.options) > len(LETTERS):
            raise UserError(f"{case.id} has over {len(LETTERS)} options; fix: offer fewer")
        lines.append("Options:")
        lines += [f"{a}. {text}" for a, text in zip(LETTERS, case.options, strict=False)]
    return "\n".join(lines)


def caption_of(view: View) -> str:
    """What a view shows, in a line."""
    width, height = (round(view.box_px[i + 2] - view.box_px[i]) for i in (0, 1))
    return f"View {view.number}: {width} x {height} pixels of image {view.image}."
