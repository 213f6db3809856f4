"""The command `medgym runs`: the runs below a folder, with their headline figures."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any

import typer

from medgym.commands.printing import WIDTH, percent, print_columns, print_json, safe_line
from medgym.commands.shared_options import AsJson
from medgym.errors import UserError
from medgym.storage.layout import SET_ASIDE
from medgym.storage.results import RESULTS, read_results
from medgym.storage.run_folder import RunFolder

from ..evaluating.records import NOT_JUDGED
from ..reports.figures import Figure, accuracy_of, bounds, why_no_accuracy
from ..robustness.source import MARK
from ..robustness.variants import CLEAN

DEEPEST = 4
"""How many folders below the one that is named are looked into."""


def list_runs(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder that holds the runs.")
    ] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """List the runs below a folder: what each is, whether it is done, and its accuracy.

    Example: medgym runs runs
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; fix: name the one that holds your runs")
    runs = list(_runs(folder, DEEPEST))
    found = [line for run in runs for line in lines_of(run, folder)]
    seeds = list(spreads(runs, folder))
    if as_json:
        print_json([*found, *seeds])
        return
    if not found:
        print(f"no run in {folder}")
        return
    print_columns(
        ("run", "what", "status", "episodes", "accuracy", "95 % interval"),
        [
            (
                line["run"], shortened(line["what"]), line["status"],
                _count(line["n"]), percent(line["value"]), bounds(line),
            )
            for line in found
        ],
        WIDTH,
    )  # fmt: skip
    for line in found:
        if line["why"]:
            print(safe_line(f"{line['run']}, {line['what']}: {line['why']}", None))
    if seeds:
        print_columns(
            ("recipe", "what", "seeds", "mean", "lowest", "highest", "sd, points"),
            [
                (
                    each["recipe"], shortened(each["what"]), _seeds(each["seeds"]),
                    *(percent(each[name]) for name in ("value", "lowest", "highest")),
                    f"{100 * each['sd']:.1f}",
                )
                for each in seeds
            ],
            WIDTH,
        )  # fmt: skip
        print("medgym compare A0,A1,A2 B0,B1,B2 compares recipes over their seeds")


MOST = 24
"""Characters of what a figure is about."""


def shortened(text: str) -> str:
    """The text in at most `MOST` characters; its end says more than its middle."""
    return text if len(text) <= MOST else f"{text[: MOST // 2 - 1]}…{text[-MOST // 2 :]}"


def _seeds(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds)) if len(seeds) <= 3 else f"{len(seeds)}"


def spreads(runs: Sequence[RunFolder], folder: Path) -> Iterator[dict[str, Any]]:
    """What trainings of one recipe with several seeds come to: of each figure the mean, the lowest,
    the highest, and the standard deviation between seeds. It has no interval: that takes the cases,
    as `medgym compare` has them."""
    recipes: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for run in runs:
        try:
            recipe, status = run.manifest.get("recipe"), run.status
        except UserError:
            continue
        if isinstance(recipe, dict) and isinstance(recipe.get("seed"), int) and status == "done":
            others = {name: value for name, value in recipe.items() if name != "seed"}
            key = json.dumps(others, sort_keys=True, default=str)
            recipes.setdefault(key, {}).setdefault(recipe["seed"], [*lines_of(run, folder)])
    for key, seeds in recipes.items():
        by_seed = [
            {line["what"]: line["value"] for line in lines if line["value"] is not None}
            for lines in seeds.values()
        ]
        shared = [what for what in by_seed[0] if all(what in each for each in by_seed)]
        for what in shared if len(seeds) > 1 else ():
            values = [each[what] for each in by_seed]
            yield {
                "recipe": str(json.loads(key).get("name")), "what": what, "seeds": sorted(seeds),
                "value": fmean(values), "lowest": min(values), "highest": max(values),
                "sd": stdev(values),
            }  # fmt: skip


def _runs(folder: Path, depth: int) -> Iterator[RunFolder]:
    """The runs in a folder and below. What lies in a run belongs to it."""
    if (folder / "manifest.json").is_file():
        yield RunFolder(folder)
        return
    try:
        inside = sorted(each for each in folder.iterdir() if each.is_dir()) if depth else []
    except OSError:
        return
    for each in inside:
        if not each.name.startswith(".") and each.name != SET_ASIDE:
            yield from _runs(each, depth - 1)


def lines_of(run: RunFolder, folder: Path) -> Iterator[dict[str, Any]]:
    """A line for each figure of a run; one without figures where it has none yet, or where its
    files cannot be read."""
    name = str(run.path.relative_to(folder)) if run.path != folder else run.path.name
    head = {"run": name, "what": "", "status": "unreadable", "n": None, "value": None,
            "low": None, "high": None, "why": ""}  # fmt: skip
    try:
        head["status"] = run.status
        asked = run.asked
        head["what"] = str(asked.get("command") or asked.get("name") or "run")
        results = read_results(run.path) if (run.path / RESULTS).exists() else {}
    except UserError:
        yield head
        return
    figures = list(_figures(results))
    if not figures:
        yield head
    for what, rate, why in figures:
        shown = {key: rate.get(key) for key in _RATE}
        yield head | {"what": what or head["what"]} | shown | {"why": why}


_RATE = ("n", "value", "low", "high")


def _figures(results: Mapping[str, Any]) -> Iterator[tuple[str, Figure, str]]:
    """What each figure is about, the figure, and why there is none.

    Of a robustness run only those of the cases as they are: its variants are no further runs.
    """
    is_robustness = results.get("command") == "robustness"
    for benchmark, part in (results.get("benchmarks") or {"": results}).items():
        if is_robustness and benchmark.rpartition(MARK)[2] != CLEAN:
            continue
        for policy, ways in part.get("policies", {}).items():
            for way, judgement in ways.items():
                words = [benchmark, policy if not benchmark else "", way]
                what = ", ".join(word for word in words if word)
                yield what, accuracy_of(judgement), why_no_accuracy(judgement)
    for benchmark, why in results.get(NOT_JUDGED, {}).items():
        yield benchmark, {}, f"not judged: {why}"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
