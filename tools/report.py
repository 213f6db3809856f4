"""`report`: what experts find on a view, put into words, each sentence with its source and score.

As VILA-M3 asks experts (a classifier, a detector, a segmenter) for a language model, and ChatCAD
writes their probabilities as words.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from medgym.errors import ToolError, UserError
from medgym.gold_tool import Gold
from medgym.imaging.study import Box
from medgym.tool import BoxArgument, Tool, ToolArgs, ToolResult, ViewNumber, load_tools
from medgym.tool_call import limited, used_together
from medgym.workspace import View, Workspace

from .models.findings import ExpertFinding, sentence
from .models.shared import BATCH

LEVELS = ((0.9, "definite"), (0.5, "likely"), (0.2, "small possibility"), (0.0, "no sign"))
"""The least score of each word, as ChatCAD's published code has them (0.2, 0.5 and 0.9)."""

SEGMENTED = 3
"""Boxes of the detectors in which a segmenter that is asked by box is asked, surest first."""

MOST_TEXT = 300
"""Characters of the text of an expert that says no findings as data."""

SLACK_S = 10.0
"""Seconds beside those of the experts, so that the one that is late is named."""

LIKELY = 0.5
"""The least score of a label that a segmenter is asked for by text."""

SEGMENT = "segment"
"""The expert that is asked about places and labels which the others found."""

_NUMBERED = re.compile(r"\d+\. ")


def level(score: float) -> str:
    """A probability as a word."""
    return next(word for least, word in LEVELS if score >= least)


class ReportTool(Tool):
    """Ask experts about a view: a sentence from each, with what it found and how sure it is.

    Each expert has the limits that it declares; of one that passes them the report says so.
    """

    name = "report"

    class Args(ToolArgs):
        """What to ask about."""

        view: ViewNumber
        box: BoxArgument | None = None

    def __init__(self, experts: str = "") -> None:
        """Experts that are asked in this order.

        Args:
            experts: specs of tools with a bar between them, `%26` for `&` in each:
                `classify?model=DIR%26top=3|detect?backend=noised`. An expert is any tool that takes
                a view, such as `classify`, `detect` and `segment`.

        Raises:
            UserError: none is named, or one that cannot be asked.
        """
        specs = [spec.strip() for spec in experts.split("|") if spec.strip()]
        if not specs:
            raise UserError(
                "report has no experts; fix: write report?experts=classify?model=FOLDER, several "
                "with | between them"
            )
        # One after the other: two experts may be the same tool with another model.
        self._experts = tuple(tool for spec in specs for tool in load_tools([spec]))
        for expert in self._experts:
            taken = set(expert.schema()["parameters"].get("properties", ()))
            if isinstance(expert, ReportTool) or "view" not in taken:
                raise UserError(
                    f"report cannot ask {expert.name}; fix: name a tool that takes a view"
                )
        fidelities = {expert.fidelity for expert in self._experts}
        self.fidelity = next(f for f in ("oracle", "predicted", "vision") if f in fidelities)
        self.needs_gold = any(expert.needs_gold for expert in self._experts)
        limits = [e.deadline_s * _most_calls(e) for e in self._experts if e.deadline_s is not None]
        self.deadline_s = sum(limits) + SLACK_S if limits else None
        if not self.needs_gold:
            names = {name for expert in self._experts for name in expert.resources}
            self.resources = {
                name: max(expert.resources.get(name, 0.0) for expert in self._experts)
                for name in sorted(names)
            }
            heavy = any(expert.batch_size > 1 for expert in self._experts)
            self.batch_size = BATCH if heavy else 1

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        """A line for each expert. `data` holds what each said, by its source."""
        return self._asked(args, workspace, None)

    def with_gold(self, args: Args, workspace: Workspace, gold: Gold) -> ToolResult:
        """The same; each expert that needs gold is given what may be told."""
        return self._asked(args, workspace, gold)

    def run_many(self, calls: Sequence[tuple[Any, Workspace]]) -> Sequence[ToolResult | ToolError]:
        """Each expert gets the calls of all as one batch."""
        checked: list[ToolError | None] = []
        for args, workspace in calls:
            try:
                _check_place(args, workspace)
                checked.append(None)
            except ToolError as error:
                checked.append(error)
        good = [call for call, error in zip(calls, checked, strict=True) if error is None]
        told = iter(self._many(good, None))
        return [next(told) if error is None else error for error in checked]

    def _asked(self, args: Args, workspace: Workspace, gold: Gold | None) -> ToolResult:
        _check_place(args, workspace)
        (result,) = self._many([(args, workspace)], gold)
        return result

    def _many(self, calls: Sequence[tuple[Args, Workspace]], gold: Gold | None) -> list[ToolResult]:
        said: list[list[_Said]] = [[] for _ in calls]
        for expert in self._experts:
            todo = [
                (number, arguments)
                for number, (args, workspace) in enumerate(calls)
                for arguments in _arguments(expert, args, said[number], workspace)
            ]
            asked = [(arguments, calls[number][1]) for number, arguments in todo]
            answers = _answers(expert, asked, gold)
            for (number, _), answer in zip(todo, answers, strict=True):
                said[number].append(_Said(expert, answer))
        return [_told(each, *call) for each, call in zip(said, calls, strict=True)]


class _Said:
    """What an expert answered to one call."""

    def __init__(self, expert: Tool, answer: ToolResult | ToolError) -> None:
        self.expert = expert
        self.answer = answer

    @property
    def source(self) -> str:
        """The expert's name, and its model's or back end's."""
        source = getattr(self.expert, "source", "")
        return f"{self.expert.name} ({source})" if source else self.expert.name

    @property
    def findings(self) -> list[ExpertFinding]:
        """Its findings, where its record has some of the form that `detect` and `classify` have."""
        if isinstance(self.answer, ToolError):
            return []
        given = self.answer.data.get("findings")
        try:
            return [_finding(each) for each in given] if isinstance(given, list | tuple) else []
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            return []

    def sentence(self, workspace: Workspace, view: View) -> str:
        """One sentence with the source, and what the expert leaves out."""
        if isinstance(self.answer, ToolError):
            return f"{self.source} cannot say: {self.answer}"
        lines = self.answer.text.strip().split("\n")
        if not self.findings:
            return f"{self.source}: {' '.join(' '.join(lines).split())[:MOST_TEXT] or 'nothing'}"
        found = ", ".join(_worded(each, workspace, view) for each in self.findings)
        rest = (line for line in lines if not _NUMBERED.match(line))
        return " ".join([f"{self.source}: {found}.", *rest])

    def data(self) -> dict[str, Any]:
        """What is recorded of it."""
        if isinstance(self.answer, ToolError):
            return {"source": self.source, "error": str(self.answer)}
        return {"source": self.source, **self.answer.data}


def _finding(data: Mapping[str, Any]) -> ExpertFinding:
    box, point = data.get("box_px"), data.get("point_px")
    return ExpertFinding(
        str(data["label"]),
        float(data["score"]),
        None if box is None else (box[0], box[1], box[2], box[3]),
        None if point is None else (point[0], point[1]),
    )


def _worded(finding: ExpertFinding, workspace: Workspace, view: View) -> str:
    """`effusion 0.71 (likely) at [...]`."""
    said, at, where = sentence(finding, workspace, view).partition(" at [")
    return f"{said} ({level(finding.score)}){at}{where}"


def _most_calls(expert: Tool) -> int:
    """How often an expert is called for one report: gold tells one thing at a time."""
    return SEGMENTED if expert.name == SEGMENT and expert.needs_gold else 1


def _check_place(args: ReportTool.Args, workspace: Workspace) -> None:
    """Raise `ToolError` for a view or a box that is not there, once and for all experts."""
    workspace.view(args.view)
    if args.box is not None:
        workspace.box_px(args.view, args.box)


def _arguments(
    expert: Tool, args: ReportTool.Args, said: Sequence[_Said], workspace: Workspace
) -> list[dict[str, Any]]:
    """The calls of an expert for one call of the report."""
    taken = expert.schema()["parameters"]["properties"]
    call: dict[str, Any] = {"view": args.view}
    if args.box is not None and "box" in taken:
        call["box"] = args.box
    if expert.name != SEGMENT:
        return [call]
    view = workspace.view(args.view)
    before = [finding for each in said for finding in each.findings]
    surest = sorted(before, key=lambda each: -each.score)
    if "text" in taken:
        labels = dict.fromkeys(f.label for f in surest if f.score >= LIKELY and f.label)
        return [call | {"text": label} for label in [*labels][:SEGMENTED]] or [call]
    if args.box is not None:
        return [call]
    boxes = [f.box_px for f in surest if f.box_px is not None][:SEGMENTED] or [view.box_px]
    return [call | {"box": _in_view(box, workspace, view)} for box in boxes]


def _in_view(box_px: Box, workspace: Workspace, view: View) -> list[float]:
    """A box of the image in the coordinates of a view, within it."""
    across, down = workspace.scale(view)
    x0, y0, x1, y1 = view.from_px(box_px, (across, down))
    return [max(0.0, x0), max(0.0, y0), min(across, x1), min(down, y1)]


def _answers(
    expert: Tool, calls: Sequence[tuple[Mapping[str, Any], Workspace]], gold: Gold | None
) -> list[ToolResult | ToolError]:
    """What an expert answers; a call that it cannot do is an answer too."""
    answers: list[ToolResult | ToolError | None] = []
    todo: list[tuple[int, tuple[Any, Workspace]]] = []
    for number, (arguments, workspace) in enumerate(calls):
        answers.append(None)
        workspace = workspace.copy(len(workspace.views))  # one that is late may still write into it
        try:
            parsed = expert.parse(arguments)
            if not expert.needs_gold:
                todo.append((number, (parsed, workspace)))
            elif gold is None:
                raise UserError(f"{expert.name} needs gold here; fix: play it in an episode")
            else:
                answers[number] = limited(expert, parsed, workspace, gold)
        except ToolError as error:
            answers[number] = error
    if todo:
        try:
            results = used_together(expert, [call for _, call in todo])
        except ToolError as error:  # all together passed its limits
            results = [error] * len(todo)
        for (number, _), result in zip(todo, results, strict=True):
            answers[number] = result
    return [answer for answer in answers if answer is not None]


def _told(said: Sequence[_Said], args: ReportTool.Args, workspace: Workspace) -> ToolResult:
    view = workspace.view(args.view)
    text = "\n".join(each.sentence(workspace, view) for each in said)
    return ToolResult(text, data={"image": view.image, "experts": [each.data() for each in said]})
