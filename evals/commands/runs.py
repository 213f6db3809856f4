"""The command `medgym runs`: the runs below a folder, with their headline figures."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from medgym.commands.printing import percent, print_columns, print_json, safe_line
from medgym.commands.shared_options import AsJson
from medgym.errors import UserError
from medgym.storage.layout import SET_ASIDE
from medgym.storage.results import RESULTS, read_results
from medgym.storage.run_folder import RunFolder

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
    found = [line for run in _runs(folder, DEEPEST) for line in lines_of(run, folder)]
    if as_json:
        print_json(found)
        return
    if not found:
        print(f"no run in {folder}")
        return
    print_columns(
        ("run", "what", "status", "episodes", "accuracy", "95 % interval"),
        [
            (
                safe_line(line["run"], 40), safe_line(line["what"], 24), line["status"],
                _count(line["n"]), percent(line["value"]), _interval(line),
            )
            for line in found
        ],
    )  # fmt: skip


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
            "low": None, "high": None}  # fmt: skip
    try:
        head["status"] = str(run.manifest.get("status"))
        asked = run.asked
        head["what"] = str(asked.get("command") or asked.get("name") or "run")
        results = read_results(run.path) if (run.path / RESULTS).exists() else {}
    except UserError:
        yield head
        return
    figures = list(_figures(results))
    if not figures:
        yield head
    for what, rate in figures:
        yield head | {"what": what or head["what"]} | {k: rate.get(k) for k in _RATE}


_RATE = ("n", "value", "low", "high")


def _figures(results: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    parts = results.get("benchmarks") or {"": results}
    for benchmark, part in parts.items():
        for policy, ways in part.get("policies", {}).items():
            for way, judgement in ways.items():
                words = [benchmark, policy if not benchmark else "", way]
                yield ", ".join(word for word in words if word), judgement["accuracy"]


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _interval(line: Mapping[str, Any]) -> str:
    if line["low"] is None or line["high"] is None:
        return "-"
    return f"{100 * line['low']:.1f} to {100 * line['high']:.1f}"
