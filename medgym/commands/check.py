"""The command `medgym check`: whether a run is what was written, and a tool keeps its contract."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from medgym.commands.check_tool import check_named_tool
from medgym.commands.printing import print_json, safe_line
from medgym.commands.shared_options import AsJson
from medgym.errors import RunError
from medgym.progress import progress
from medgym.storage.check.repair import repair
from medgym.storage.check.report import RunReport
from medgym.storage.check.run import check_run, find, size_of

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


@app.callback()
def check() -> None:
    """Check that a run is what was written, or that a tool keeps its contract.

    Example: medgym check run runs/random

    Example: medgym check tool zoom
    """


@app.command("run")
def run(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    set_aside: Annotated[
        bool,
        typer.Option(
            "--repair", help="Move what is damaged to RUN/set-aside/, and say what to play again."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a run whole: parts, hashes, images, counts, manifest, invariants, all other files.

    Exit status 1 where something is damaged.

    Example: medgym check run runs/random --repair
    """
    report = _checked(folder)
    done = repair(find(folder), report) if set_aside and not report.whole else None
    repaired = {} if done is None else {"set_aside": done.moved, "left": done.left, "do": done.todo}
    after = report if done is None else _checked(folder)
    if as_json:
        rows = [asdict(row) for row in report.rows]
        print_json({"run": str(folder), "whole": after.whole, "checks": rows, **repaired})
    else:
        for row in report.rows:
            print(safe_line(f"{row.verdict}  {row.check}: {row.figure}", None))
        for name, lines in repaired.items():
            for line in lines:
                print(safe_line(f"{name.replace('_', ' ')}  {line}", None))
    failed = [row for row in after.rows if row.verdict == "fail"]
    if failed:
        fix = "restore it from a copy"
        if done is None:
            fix = f"medgym check run {folder} --repair, or restore it from a copy"
        raise RunError(
            f"{folder} is damaged, the first: {failed[0].check}, {failed[0].figure}; fix: {fix}"
        )


def _checked(folder: Path) -> RunReport:
    found = find(folder)
    with progress("files", size_of(found)) as advance:
        return check_run(found, lambda: advance(1))


app.command("tool")(check_named_tool)
