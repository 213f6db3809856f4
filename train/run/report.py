"""What a training run shows: a table in the terminal and `report.png`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medgym.cases import Case, open_cases
from medgym.commands.printing import percent, print_columns
from medgym.imaging.study import open_image
from medgym.policy import Policy
from medgym.rollout import collect
from medgym.seeds import seed_of
from medgym.trajectory import Trajectory

from ..recipe.schema import Recipe
from .stages import Place, model_policy, rules_of, sampling_of

_NAMES = {
    "no_tools": "trained, tools taken away",
    "prior": "prior (never looks)",
    "cold_start": "cold start",
    "grpo": "GRPO",
    "oracle": "oracle",
}
_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#888888"
_DRAWS = 16
_WINDOW = 5
_ANSWERS = 12


def print_results(results: dict[str, Any], folder: Path) -> None:
    """The table of policies, and where the run lies."""
    policies = results["policies"]
    rows = [
        (_NAMES.get(name, name), *rate_cells(row), percent(row["looked"]), percent(row["hit"]))
        for name, row in policies.items()
    ]
    print_columns((f"{results['recipe']}, seed {results['seed']}", *RATES, "looked", "hit"), rows)
    print_end(policies["grpo"]["n"], results["seconds"]["total"], folder)


RATES = ("sampled", "95 % interval", "greedy")
"""Headings of `rate_cells`."""


def rate_cells(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """How often a policy is right: sampled, that figure's interval, greedy."""
    interval = f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
    return percent(row["accuracy"]), interval, percent(row["greedy"])


def print_end(count: int, seconds: float, folder: Path) -> None:
    """What the table rests on, what it took and where everything lies."""
    print(f"{count} held-out cases each; {seconds:.0f} s in all; everything is in {folder}")


def draw_report(recipe: Recipe, folder: Path) -> Path:
    """Draw `report.png`: learning, looking, sight, answers, one case before and after."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    place = Place(folder)
    results = json.loads((folder / "results.json").read_text())
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    metrics = [json.loads(line) for line in lines]
    figure, axes = pyplot.subplot_mosaic(
        "AAABBBCCCDDD;EEEEFFFFGGGG", figsize=(18, 10), layout="constrained"
    )
    _learning(axes["A"], metrics, recipe)
    _looking(axes["B"], metrics)
    _sight(axes["C"], metrics)
    _by_answer(axes["D"], results["policies"])
    _before_and_after([axes[name] for name in "EFG"], recipe, place)
    figure.suptitle(f"{recipe.name}, seed {recipe.seed}", fontsize=14)
    path = folder / "report.png"
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
    return path


def _smooth(values: list[float]) -> np.ndarray:
    """The mean of the last `_WINDOW` steps at each step."""
    return np.array([np.mean(values[max(0, i + 1 - _WINDOW) : i + 1]) for i in range(len(values))])


def _learning(axis: Any, metrics: list[dict[str, float]], recipe: Recipe) -> None:
    from scipy.stats import binomtest

    steps = [row["step"] for row in metrics]
    mean = _smooth([row["accuracy"] for row in metrics])
    batch = int(recipe.grpo.get("per_device_train_batch_size", 8))
    batch *= int(recipe.grpo.get("gradient_accumulation_steps", 1))
    bounds = []
    for i, share in enumerate(mean):
        n = batch * min(i + 1, _WINDOW)
        interval = binomtest(round(share * n), n).proportion_ci(method="wilson")
        bounds.append((interval.low, interval.high))
    low, high = np.array(bounds).T
    axis.fill_between(steps, low, high, color=_BLUE, alpha=0.2, label="95 % interval")
    axis.plot(steps, mean, color=_BLUE, label=f"accuracy, mean of {_WINDOW} steps")
    axis.set(title="Learning", xlabel="GRPO step", ylabel="share right in training", ylim=(0, 1.02))
    axis.legend(loc="lower right")


def _looking(axis: Any, metrics: list[dict[str, float]]) -> None:
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


def _sight(axis: Any, metrics: list[dict[str, float]]) -> None:
    """What it earns with its own views and with another case's; how much its answers see."""
    steps = [row["step"] for row in metrics]
    own = _smooth([row.get("reward", np.nan) for row in metrics])
    axis.plot(steps, own, color=_BLUE, label="reward")
    nats = axis.twinx()
    for scale, key, colour, name in (
        (axis, "looking/exchanged_reward", _ORANGE, "the same, looks show another case"),
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


def _by_answer(axis: Any, policies: dict[str, Any]) -> None:
    answers = sorted(policies["grpo"]["by_answer"])[:_ANSWERS]
    place = np.arange(len(answers))
    for shift, name, colour in ((-0.2, "cold_start", _GREY), (0.2, "grpo", _BLUE)):
        values = [policies[name]["by_answer"].get(answer, 0.0) for answer in answers]
        axis.bar(place + shift, values, 0.4, color=colour, label=_NAMES[name])
    axis.set_xticks(place, answers)
    axis.set(title="Accuracy by answer (held out, sampled)", ylim=(0, 1.15))
    axis.legend(loc="upper right", ncols=2)


def _before_and_after(axes: list[Any], recipe: Recipe, place: Place) -> None:
    cases = open_cases(recipe.cases.test)
    case = next((case for case in cases if case.regions), cases[0])
    lesion = next((region.box_px for region in case.regions if region.image == 0), None)
    base = str(place.cold_start)
    players = {
        "before": model_policy(base),
        "after": model_policy(place.trained),
    }
    study = open_image(case.images[0])
    side = rules_of(recipe).view_size
    width, height = study.size
    overview = study.render((0, 0, width, height), (side, side * height // width))
    for axis, (title, player) in zip(axes, players.items(), strict=False):
        played = _draws(case, player, recipe)
        axis.imshow(overview, extent=(0, width, height, 0), interpolation="nearest")
        for trajectory in played:
            for look in (look for look in trajectory.looks if look.image == 0):
                _box(axis, look.box_px, _BLUE if trajectory.correct else _ORANGE, 1.5)
        if lesion is not None:
            _box(axis, lesion, "white", 1.5, "--")
        right = sum(t.correct for t in played)
        looked = sum(bool(t.looks) for t in played)
        axis.set_title(f"{title}: {looked} of {_DRAWS} looked, {right} of {_DRAWS} right")
        axis.set_axis_off()
    axes[2].set_axis_off()
    if lesion is None:
        return
    x0, y0, x1, y1 = lesion
    middle, half = ((x0 + x1) / 2, (y0 + y1) / 2), max(x1 - x0, y1 - y0)
    near = (
        max(middle[0] - half, 0),
        max(middle[1] - half, 0),
        min(middle[0] + half, width),
        min(middle[1] + half, height),
    )
    close = study.render(near, (256, 256)).resize((512, 512), Image.Resampling.NEAREST)
    axes[2].imshow(close)
    axes[2].set_title(f"the lesion, looked at closely: {case.answer}")


def _draws(case: Case, player: Policy, recipe: Recipe) -> list[Trajectory]:
    stream = collect(
        [case],
        player,
        rules_of(recipe),
        group_size=_DRAWS,
        sampling=sampling_of(recipe),
        seed=seed_of(recipe.seed, "report"),
        ordered=True,
    )
    return list(stream)


def _box(
    axis: Any, box: tuple[float, float, float, float], colour: str, width: float, style: str = "-"
) -> None:
    from matplotlib.patches import Rectangle

    x0, y0, x1, y1 = box
    axis.add_patch(
        Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=colour, lw=width, ls=style, alpha=0.8)
    )
