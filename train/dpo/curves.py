"""What DPO draws in a run's report: pairs told apart, chosen replies, answers, step by step."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medgym.storage.json_files import read_lines

from ..recipe.evaluating import EVALUATED
from ..run.stage import ReportPanel
from .watch import ANSWERED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _ORANGE, _GREY, _GREEN = "#0072b2", "#d55e00", "#888888", "#009e73"

Place = Literal["lower left", "lower right"]
Steps = Sequence[Mapping[str, float]]


def panels(metrics: Path) -> tuple[ReportPanel, ...]:
    """The panels of a run, from the file of its metrics; none where it is not there."""
    if not metrics.exists():
        return ()
    steps = read_lines(metrics)
    return tuple(ReportPanel(partial(draw, steps)) for draw in (_pairs, _displacement))


def _line(axes: "Axes", steps: Steps, key: str, label: str, colour: str, mark: str = "-") -> None:
    known = [(row["step"], row[key]) for row in steps if key in row]
    if known:
        axes.plot(*zip(*known, strict=True), mark, color=colour, label=label)


def _pairs(steps: Steps, axes: "Axes") -> None:
    """The share of pairs that are told apart, and by how much."""
    _line(axes, steps, "rewards/accuracies", "pairs told apart", _BLUE)
    _line(axes, steps, "rewards/other_accuracies", "own images preferred to others", _GREEN)
    axes.set(title="Preferences", xlabel="DPO step", ylabel="share of pairs", ylim=(0, 1.02))
    margins = axes.twinx()
    _line(margins, steps, "rewards/margins", "margin (right)", _GREY)
    _legend(axes, margins, "lower right")


def _displacement(steps: Steps, axes: "Axes") -> None:
    """What is left of answers, and what becomes of the chosen replies."""
    _line(axes, steps, ANSWERED, "episodes with an answer", _BLUE, ".-")
    _line(axes, steps, EVALUATED, "held-out cases right", _ORANGE, "o")
    axes.set(title="Answers", xlabel="DPO step", ylabel="share of episodes", ylim=(0, 1.02))
    nats = axes.twinx()
    _line(nats, steps, "logps/chosen_change", "chosen replies, nats a token (right)", _GREY)
    _legend(axes, nats, "lower left")


def _legend(axes: "Axes", right: "Axes", place: Place) -> None:
    handles = [*axes.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
    if handles:
        axes.legend(handles=handles, loc=place)
