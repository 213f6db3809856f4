"""What GRPO draws in a run's report: accuracy, looking and sight, step by step."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medgym.storage.json_files import read_lines

from ...recipe.evaluating import EVALUATED
from ...recipe.settings import Keys
from ...run.stage import ReportPanel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#888888"
_WINDOW = 5

Steps = Sequence[Mapping[str, float]]


def panels(metrics: Path, grpo: Keys) -> tuple[ReportPanel, ...]:
    """The panels of a run, from its `metrics.jsonl` and the keys of its `[grpo]`."""
    steps = read_lines(metrics)
    batch = int(grpo.get("per_device_train_batch_size", 8))
    accumulated = grpo.get("gradient_accumulation_steps", 1)
    batch *= int(grpo.get("steps_per_generation") or accumulated)
    # Steps that learn again from what an earlier one played have no figures of playing.
    played = [row for row in steps if "accuracy" in row]
    judged = [row for row in steps if EVALUATED in row]
    drawings = (
        partial(_learning, played, judged, batch),
        partial(_looking, played),
        partial(_sight, played),
    )
    return tuple(ReportPanel(draw) for draw in drawings)


def _smooth(values: list[float]) -> NDArray[np.float64]:
    """The mean of the last `_WINDOW` steps at each step."""
    return np.array([np.mean(values[max(0, i + 1 - _WINDOW) : i + 1]) for i in range(len(values))])


def _learning(metrics: Steps, judged: Steps, batch: int, axis: "Axes") -> None:
    """Accuracy on the cases of training, and on the held-out ones where those are played."""
    from scipy.stats import binomtest

    steps = [row["step"] for row in metrics]
    mean = _smooth([row["accuracy"] for row in metrics])
    bounds = []
    for i, share in enumerate(mean):
        n = batch * min(i + 1, _WINDOW)
        interval = binomtest(round(share * n), n).proportion_ci(method="wilson")
        bounds.append((interval.low, interval.high))
    low, high = np.array(bounds).reshape(-1, 2).T
    axis.fill_between(steps, low, high, color=_BLUE, alpha=0.2, label="95 % interval")
    axis.plot(steps, mean, color=_BLUE, label=f"accuracy, mean of {_WINDOW} steps")
    if judged:
        values, *around = (
            np.array([row[EVALUATED + end] for row in judged]) for end in ("", "_low", "_high")
        )
        errors = [values - around[0], around[1] - values]
        places = [row["step"] for row in judged]
        label = "held-out cases, with 95 % interval"
        axis.errorbar(places, values, yerr=errors, fmt="o", ms=4, color=_ORANGE, label=label)
    axis.set(title="Learning", xlabel="GRPO step", ylabel="share right in training", ylim=(0, 1.02))
    axis.legend(loc="lower right")


def _looking(metrics: Steps, axis: "Axes") -> None:
    steps = [row["step"] for row in metrics]
    for key, name, colour in (
        ("looking/looked", "looked at all", _ORANGE),
        ("looking/hit", "showed the whole lesion", _BLUE),
        ("episode/malformed", "malformed reply", _GREY),
    ):
        axis.plot(
            steps, _smooth([row.get(key, np.nan) for row in metrics]), color=colour, label=name
        )
    axis.set(title="Looking", xlabel="GRPO step", ylabel="share of episodes", ylim=(0, 1.02))
    axis.legend(loc="center right")


def _sight(metrics: Steps, axis: "Axes") -> None:
    """The reward with its own views and with another case's; how much images move its answers."""
    steps = [row["step"] for row in metrics]
    own = _smooth([row.get("reward", np.nan) for row in metrics])
    axis.plot(steps, own, color=_BLUE, label="reward")
    nats = axis.twinx()
    for scale, key, colour, name in (
        (axis, "looking/exchanged_reward", _ORANGE, "the same, tools show another case"),
        (nats, "sight/moved", _GREY, "images moved answers by (nats, right)"),
    ):
        known = [(row["step"], row[key]) for row in metrics if key in row]
        if known:
            scale.plot(*zip(*known, strict=True), ".-", color=colour, label=name)
    axis.set(title="Sight", xlabel="GRPO step", ylabel="mean reward")
    axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
    nats.set_ylim(bottom=0)
    handles = [*axis.get_legend_handles_labels()[0], *nats.get_legend_handles_labels()[0]]
    axis.legend(handles=handles, loc="center right")
