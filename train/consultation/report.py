"""What the training of a consultation shows: a table in the terminal and `report.png`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medgym.commands.printing import percent, print_columns
from medgym.consultation.role import ATTENDING, SINGLE, TRIAGE
from medgym.storage.json_files import read_lines
from medgym.storage.layout import Place
from medgym.storage.results import read_results

from ..recipe.schema import Recipe
from ..run.judging import Figures
from ..run.report import RATES, print_end, print_overlap, rate_cells, save_figure
from .curriculum import DIFFICULTIES
from .policies import VOTES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Policies = Mapping[str, Figures]
"""The `policies` of `results.json`."""

NAMES = {
    ATTENDING: "consultation",
    "attending_before": "attending not trained",
    "majority": "specialists' vote",
    TRIAGE: "triage (specialty)",
    "triage_before": "triage, not trained",
    "no_specialists": "no specialists",
    "no_triage": "no triage: all asked",
    "oracle": "oracle as attending",
    SINGLE: "single policy",
    "single_majority": f"majority of {VOTES}",
}
"""What the policies of `results.json` are called in tables and figures."""

_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#888888"
_WINDOW = 5


def print_results(results: Figures, folder: Path) -> None:
    """The table of policies, the parts that failed, and the run's folder."""
    policies: Policies = results["policies"]
    levels = [f"difficulty/{level}" for level in DIFFICULTIES]
    rows = []
    for name, row in policies.items():
        sampled = row["sampled"]
        rates = [sampled["metrics"].get(key) for key in (*levels, "overruled")]
        shares = (percent(rate and rate["value"]) for rate in rates)
        rows.append((NAMES.get(name, name), *rate_cells(row), *shares, f"{sampled['tokens']:.0f}"))
    whole = policies[ATTENDING]["sampled"]
    counts = (whole["metrics"][key]["n"] for key in (*levels, "overruled"))
    names = (*DIFFICULTIES, "overruled")
    heads = (f"{name} ({count})" for name, count in zip(names, counts, strict=True))
    title = f"{results['recipe']}, seed {results['seed']}"
    print_columns((title, *RATES, *heads, "tokens"), rows)
    for name, row in policies.items():
        for role, count in failed_parts(row).items():
            print(f"failed parts of the {role} in {NAMES.get(name, name)!r}: {count}")
    print_overlap(results)
    print_end(whole["accuracy"]["n"], results["seconds"]["total"], folder)


def failed_parts(row: Figures) -> dict[str, int]:
    """How many parts of each role failed for good, sampled and greedy together."""
    found: dict[str, int] = {}
    for judgement in (row["sampled"], row["greedy"]):
        for role, figures in judgement.get("roles", {}).items():
            if figures["failed"]:
                found[role] = found.get(role, 0) + figures["failed"]
    return found


def draw_report(recipe: Recipe, folder: Path) -> Path:
    """Draw `report.png`: shares of right answers, also by difficulty, and learning."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    policies = read_results(folder)["policies"]
    figure, axes = pyplot.subplot_mosaic("AAB;AAC", figsize=(16, 8), layout="constrained")
    _ranking(axes["A"], policies)
    _levels(axes["B"], policies)
    _learning(axes["C"], folder)
    figure.suptitle(f"{recipe.name}, seed {recipe.seed}", fontsize=14)
    path = folder / "report.png"
    save_figure(figure, path)
    pyplot.close(figure)
    return path


def _ranking(axis: "Axes", policies: Policies) -> None:
    others = [name for name in policies if name not in NAMES]
    names = [*(name for name in NAMES if name in policies), *others][::-1]
    rows = [policies[name]["sampled"]["accuracy"] for name in names]
    values = np.array([row["value"] for row in rows])
    below = values - [row["low"] for row in rows]
    above = np.array([row["high"] for row in rows]) - values
    colours = [_BLUE if name == ATTENDING else _GREY for name in names]
    axis.barh(range(len(names)), values, color=colours)
    axis.errorbar(values, range(len(names)), xerr=[below, above], fmt="none", color="black")
    axis.set_yticks(range(len(names)), [NAMES.get(name, name) for name in names])
    axis.set(title="Right answers (held out, sampled, 95 % interval)", xlim=(0, 1.02))


def _levels(axis: "Axes", policies: Policies) -> None:
    place = np.arange(len(DIFFICULTIES))
    shown = (("majority", _ORANGE), ("attending_before", _GREY), ("attending", _BLUE))
    for shift, (name, colour) in zip((-0.27, 0.0, 0.27), shown, strict=True):
        metrics = policies[name]["sampled"]["metrics"]
        rows = [metrics[f"difficulty/{level}"] for level in DIFFICULTIES]
        values = np.array([row["value"] for row in rows])
        errors = [values - [r["low"] for r in rows], np.array([r["high"] for r in rows]) - values]
        axis.bar(place + shift, values, 0.27, color=colour, label=NAMES[name])
        axis.errorbar(place + shift, values, yerr=errors, fmt="none", color="black")
    axis.set_xticks(place, ["easy: all are right", "medium", "hard: none is right"])
    axis.set(title="By how many specialists are right", ylim=(0, 1.3))
    axis.legend(loc="upper right", fontsize=8)


def _learning(axis: "Axes", folder: Path) -> None:
    for role, colour in ((TRIAGE, _ORANGE), (ATTENDING, _BLUE), (SINGLE, _GREY)):
        path = Place(folder, role).metrics
        if not path.exists():
            continue
        rows = read_lines(path)
        rows = [row for row in rows if "accuracy" in row]  # others learn from what one played
        values = [row["accuracy"] for row in rows]
        mean = [np.mean(values[max(0, i + 1 - _WINDOW) : i + 1]) for i in range(len(values))]
        axis.plot([row["step"] for row in rows], mean, color=colour, label=role)
    axis.set(title=f"Learning (mean of {_WINDOW} steps)", xlabel="GRPO step", ylim=(0, 1.02))
    axis.set_ylabel("share right in training")
    axis.legend(loc="lower right")
