"""What a training run shows: a table in the terminal and `report.png`."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from medgym.case_images import opened_images
from medgym.case_notes import note_lines
from medgym.cases import Case
from medgym.commands.printing import percent, print_columns, safe_line
from medgym.errors import RunError
from medgym.imaging.opened import OpenedImage, UnreadableImage
from medgym.rollout import collect
from medgym.storage.atomic import write_atomic
from medgym.storage.results import read_results
from medgym.trajectory import Trajectory

from .judging import Figures, trained_policies, trained_policy
from .looks import close_up, gold_of, looks_sheet
from .opened import Run
from .overlap import SharedCases
from .stage import ReportPanel, TrainedPolicy
from .stages import STAGES, TRAINING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMES = {
    "no_tools": "trained, tools taken away",
    "prior": "prior (never looks)",
    "oracle": "oracle",
}
_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#888888"
_EPISODES = 16
_ANSWERS = 12


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    write_atomic(path, buffer.getvalue())


def print_results(results: Figures, run: Run) -> None:
    """The table of policies, and where the run lies."""
    policies = results["policies"]
    names = _NAMES | {each.name: each.title for each in trained_policies(run, TRAINING)}
    rows = [
        (
            names.get(name, name),
            *rate_cells(row),
            percent(row["sampled"]["looked"]),
            percent(row["sampled"]["hit"]),
        )
        for name, row in policies.items()
    ]
    print_columns((f"{results['recipe']}, seed {results['seed']}", *RATES, "looked", "hit"), rows)
    print_needed(policies, names)
    print_overlap(results)
    count = policies["oracle"]["sampled"]["accuracy"]["n"]
    print_end(count, results["seconds"]["total"], run.folder)


def print_needed(policies: Mapping[str, Figures], names: Mapping[str, str]) -> None:
    """Where cases need different tools: how often each was used where it is needed, and right."""
    found = {name: row["sampled"]["metrics"] for name, row in policies.items()}
    metrics = [each for each in next(iter(found.values())) if "where needed" in each]
    if metrics:
        rows = [
            (names.get(name, name), *(percent(its[each]["value"]) for each in metrics))
            for name, its in found.items()
        ]
        short = [each.replace(", where needed:", "") for each in metrics]
        print_columns(("where the tool is needed, sampled", *short), rows)


RATES = ("sampled", "95 % interval", "greedy")
"""Headings of `rate_cells`."""


def rate_cells(row: Figures) -> tuple[str, str, str]:
    """How often a policy is right: sampled, that figure's interval, greedy."""
    sampled, greedy = row["sampled"]["accuracy"], row["greedy"]["accuracy"]
    interval = f"{100 * sampled['low']:.1f} to {100 * sampled['high']:.1f}"
    return percent(sampled["value"]), interval, percent(greedy["value"])


def print_overlap(results: Figures) -> None:
    """What was learned from and judged by, where the recipe allows that or its source declares it;
    and what else is to be said of the cases."""
    for each in results.get("overlap", ()):
        print(f"beware: {safe_line(str(SharedCases(**each)), None)}")
    judged = [each["sampled"] for each in results["policies"].values() if "sampled" in each]
    tested = judged[0].get("unreadable") if judged else None
    for name, found in (("training", results.get("unreadable")), ("test", tested)):
        if found:
            first = found["first"][0]
            print(
                f"beware: {found['count']} of {found['of']} {name} cases are left out, whose "
                f"images cannot be read, such as {safe_line(first['case'])} "
                f"({safe_line(first['why'])})"
            )
    for line in note_lines(results):
        print(safe_line(line, None))


def print_end(count: int, seconds: float, folder: Path) -> None:
    """The number of cases in the table, the seconds of the run, and its folder."""
    print(f"{count} held-out cases each; {seconds:.0f} s in all; everything is in {folder}")


def draw_report(run: Run) -> Path:
    """Draw `report.png`: the curves of each stage, answers, and one case before and after."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    results = read_results(run.folder)
    trained = trained_policies(run, TRAINING)
    ends = trained[0], trained[-1]
    panels = [panel for stage in STAGES if stage.wanted(run) for panel in stage.panels(run)]
    panels.append(ReportPanel(lambda axes: _by_answer(axes, results["policies"], ends)))
    figure = pyplot.figure(figsize=(max(18, 4.5 * len(panels)), 10), layout="constrained")
    (above,), (below,) = figure.subfigures(2, 1, squeeze=False)
    curves = above.subplots(1, len(panels), squeeze=False)[0]
    pictures = below.subplots(1, 3)
    for axes, panel in zip(curves, panels, strict=True):
        panel.draw(axes)
    _before_and_after(list(pictures), run, ends)
    figure.suptitle(f"{run.recipe.name}, seed {run.recipe.seed}", fontsize=14)
    path = run.folder / "report.png"
    save_figure(figure, path)
    pyplot.close(figure)
    return path


Ends = tuple[TrainedPolicy, TrainedPolicy]
"""The first and the last policy of a run: before and after its training."""


def _by_answer(axes: "Axes", policies: Mapping[str, Figures], ends: Ends) -> None:
    rates = {name: row["sampled"]["by_answer"] for name, row in policies.items()}
    answers = sorted(rates[ends[1].name])[:_ANSWERS]
    places = np.arange(len(answers))
    for shift, policy, colour in zip((-0.2, 0.2), ends, (_GREY, _BLUE), strict=True):
        its = rates[policy.name]
        values = [its.get(answer, {"value": 0.0})["value"] for answer in answers]
        axes.bar(places + shift, values, 0.4, color=colour, label=policy.title)
    axes.set_xticks(places, answers)
    axes.set(title="Accuracy by answer (held out, sampled)", ylim=(0, 1.15))
    axes.legend(loc="upper right", ncols=2)


def _before_and_after(panels: Sequence["Axes"], run: Run, ends: Ends) -> None:
    case = next((case for case in run.test if case.regions), run.test[0])
    case, opened = _readable(case, run)
    region = next((region.box_px for region in case.regions if region.image == 0), None)
    gold = gold_of(case)
    image = gold.image if gold is not None else 0
    volume = run.rules(run.test).begin(case, opened).workspace if opened[image].has_many else None
    study = opened[0].start
    side = run.rules(run.test).view_size
    width, height = study.size
    overview = study.render((0, 0, width, height), (side, side * height // width))
    models = dict(zip(("before", "after"), ends, strict=True))
    for axes, (title, model) in zip(panels, models.items(), strict=False):
        played = _episodes(case, model, run)
        right = sum(t.correct for t in played)
        looked = sum(bool(t.looks) for t in played)
        axes.set_title(f"{title}: {looked} of {_EPISODES} looked, {right} of {_EPISODES} right")
        axes.set_axis_off()
        if volume is not None:
            axes.imshow(looks_sheet(volume, case, image, played, (_ORANGE, _BLUE)))
            continue
        axes.imshow(overview, extent=(0, width, height, 0), interpolation="nearest")
        for trajectory in played:
            for look in (look for look in trajectory.looks if look.image == 0):
                _box(axes, look.box_px, _BLUE if trajectory.correct else _ORANGE, 1.5)
        if region is not None:
            _box(axes, region, "white", 1.5, "--")
    panels[2].set_axis_off()
    if volume is not None:
        if gold is not None:
            close, place = close_up(volume, gold)
            panels[2].imshow(close, interpolation="nearest")
            panels[2].set_title(f"the finding, enlarged{place}: {case.answer}")
        return
    if region is None:
        return
    x0, y0, x1, y1 = region
    middle, half = ((x0 + x1) / 2, (y0 + y1) / 2), max(x1 - x0, y1 - y0)
    near = (
        max(middle[0] - half, 0),
        max(middle[1] - half, 0),
        min(middle[0] + half, width),
        min(middle[1] + half, height),
    )
    close = study.render(near, (256, 256)).resize((512, 512), Image.Resampling.NEAREST)
    panels[2].imshow(close)
    panels[2].set_title(f"the finding, enlarged: {case.answer}")


def _readable(first: Case, run: Run) -> tuple[Case, list[OpenedImage]]:
    """A case to be drawn, with its images: the first one, or else the first that can be read."""
    for case in (first, *run.test):
        try:
            return case, opened_images(case)
        except UnreadableImage:
            continue
    raise RunError("no test case can be read; fix: correct the images")


def _episodes(case: Case, model: TrainedPolicy, run: Run) -> list[Trajectory]:
    policy = trained_policy(model, run)
    stream = collect(
        [case],
        policy,
        run.rules(run.test),
        group_size=_EPISODES,
        sampling=run.sampling(),
        seed=run.seed("report"),
        ordered=True,
    )
    try:
        return list(stream)
    finally:
        policy.close()


def _box(
    axes: "Axes",
    box: tuple[float, float, float, float],
    colour: str,
    width: float,
    style: str = "-",
) -> None:
    from matplotlib.patches import Rectangle

    x0, y0, x1, y1 = box
    axes.add_patch(
        Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=colour, lw=width, ls=style, alpha=0.8)
    )
