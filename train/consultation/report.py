"""What the training of a consultation shows: a table in the terminal and `report.png`."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from medgym.commands.printing import percent, print_columns
from medgym.consultation.opinions import ATTENDING, TRIAGE
from medgym.storage.layout import Place

from ..recipe.schema import Recipe
from ..run.report import RATES, print_end, rate_cells
from .curriculum import DIFFICULTIES
from .judging import SINGLE, VOTES

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
"""What the policies of `results.json` are called where people read."""

_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#888888"
_WINDOW = 5


def print_results(results: dict[str, Any], folder: Path) -> None:
    """The table of policies, and where the run lies."""
    policies = results["policies"]
    title = f"{results['recipe']}, seed {results['seed']}"
    rows = []
    for name, row in policies.items():
        levels = row.get("by_difficulty", {})
        rates = [*(levels.get(level) for level in DIFFICULTIES), row.get("overruled")]
        told = (percent(rate and rate["value"]) for rate in rates)
        rows.append((NAMES.get(name, name), *rate_cells(row), *told, f"{row['tokens']:.0f}"))
    levels = policies[ATTENDING]["by_difficulty"]
    named = (f"{level} ({levels[level]['n']})" for level in DIFFICULTIES)
    overruled = f"overruled ({policies[ATTENDING]['overruled']['n']})"
    print_columns((title, *RATES, *named, overruled, "tokens"), rows)
    print_end(policies[ATTENDING]["n"], results["seconds"]["total"], folder)


def draw_report(recipe: Recipe, folder: Path) -> Path:
    """Draw `report.png`: who is right how often, on cases of which difficulty, and learning."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    policies = json.loads((folder / "results.json").read_text())["policies"]
    figure, axes = pyplot.subplot_mosaic("AAB;AAC", figsize=(16, 8), layout="constrained")
    _ranking(axes["A"], policies)
    _levels(axes["B"], policies)
    _learning(axes["C"], folder)
    figure.suptitle(f"{recipe.name}, seed {recipe.seed}", fontsize=14)
    path = folder / "report.png"
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
    return path


def _ranking(axis: Any, policies: dict[str, Any]) -> None:
    others = [name for name in policies if name not in NAMES]
    names = [*(name for name in NAMES if name in policies), *others][::-1]
    rows = [policies[name] for name in names]
    values = np.array([row["accuracy"] for row in rows])
    below = values - [row["low"] for row in rows]
    above = np.array([row["high"] for row in rows]) - values
    colours = [_BLUE if name == ATTENDING else _GREY for name in names]
    axis.barh(range(len(names)), values, color=colours)
    axis.errorbar(values, range(len(names)), xerr=[below, above], fmt="none", color="black")
    axis.set_yticks(range(len(names)), [NAMES.get(name, name) for name in names])
    axis.set(title="Right answers (held out, sampled, 95 % interval)", xlim=(0, 1.02))


def _levels(axis: Any, policies: dict[str, Any]) -> None:
    place = np.arange(len(DIFFICULTIES))
    shown = (("majority", _ORANGE), ("attending_before", _GREY), ("attending", _BLUE))
    for shift, (name, colour) in zip((-0.27, 0.0, 0.27), shown, strict=True):
        rows = [policies[name]["by_difficulty"][level] for level in DIFFICULTIES]
        values = np.array([row["value"] for row in rows])
        errors = [values - [r["low"] for r in rows], np.array([r["high"] for r in rows]) - values]
        axis.bar(place + shift, values, 0.27, color=colour, label=NAMES[name])
        axis.errorbar(place + shift, values, yerr=errors, fmt="none", color="black")
    axis.set_xticks(place, ["easy: all are right", "medium", "hard: none is right"])
    axis.set(title="By how many specialists are right", ylim=(0, 1.3))
    axis.legend(loc="upper right", fontsize=8)


def _learning(axis: Any, folder: Path) -> None:
    for role, colour in ((TRIAGE, _ORANGE), (ATTENDING, _BLUE), (SINGLE, _GREY)):
        path = Place(folder, role).metrics
        if not path.exists():
            continue
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        values = [row["accuracy"] for row in rows]
        mean = [np.mean(values[max(0, i + 1 - _WINDOW) : i + 1]) for i in range(len(values))]
        axis.plot([row["step"] for row in rows], mean, color=colour, label=role)
    axis.set(title=f"Learning (mean of {_WINDOW} steps)", xlabel="GRPO step", ylim=(0, 1.02))
    axis.set_ylabel("share right in training")
    axis.legend(loc="lower right")
