"""The page of one or more runs: one HTML file that needs no network, and no script for its tables.

All texts of policies and cases are escaped. The page forbids its browser to load anything, and to
run any script but its own two, which it names by their hashes.
"""

import base64
import hashlib
import json
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from medgym.commands.printing import safe_line, safe_text
from medgym.errors import RunError, UserError, missing_library
from medgym.storage.atomic import write_atomic

from ..outcomes.outcome import CaseOutcome
from .failures import failures
from .further import measurements, of_the_cases, spending
from .made import how_made
from .parts import Section
from .run import ReportedRun, short_names
from .sections import by_subgroup, calibrated, differences, headline, verdicts

REPORT = "report.html"
"""The page of one run, in its folder."""

COMPARISON = "comparison.html"
"""The page of several runs, in the folder of the first one."""

PAGE = files("medgym.evals.reports") / "page"


def write_report(
    runs: Sequence[str], out: Path | None = None, outcomes: Collection[CaseOutcome] = ()
) -> Path:
    """Write the page of runs; returns its path.

    Args:
        runs: folders of runs, of a training also `FOLDER:POLICY`. Others are compared with the
            first.
        out: the file; by default in the folder of the first run.
        outcomes: of one run, where they are known; else they are read.

    Raises:
        UserError: one is no run, or the page cannot be written.
        ImportError: plotly is not installed.
    """
    import plotly.offline

    opened = [ReportedRun.open(name, outcomes) for name in runs]
    names = short_names([run.name for run in opened])
    opened = [replace(run, name=name) for run, name in zip(opened, names, strict=True)]
    path = out or opened[0].folder.path / (REPORT if len(opened) == 1 else COMPARISON)
    text = page(opened, plotly.offline.get_plotlyjs(), path.parent)
    try:
        write_atomic(path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({error.strerror}); fix: choose another place with --out"
        ) from error
    return path


def sections(runs: Sequence[ReportedRun]) -> list[Section]:
    """All sections that have something to say, in their order."""
    found = [
        headline(runs),
        *([differences(runs)] if len(runs) > 1 else []),
        verdicts(runs),
        by_subgroup(runs),
        calibrated(runs),
        *measurements(runs),
        spending(runs),
        *(failures(run) for run in runs),
        of_the_cases(runs),
        how_made(runs),
    ]
    return [each for each in found if not each.is_empty]


def page(runs: Sequence[ReportedRun], plotly: str, where: Path) -> str:
    """The page as text. `where` is the folder that it will lie in, from which links lead."""
    shown = sections(runs)
    charts = [
        {"data": chart.data, "layout": chart.layout} for each in shown for chart in each.charts
    ]
    draw = (PAGE / "report.js").read_text("utf-8")
    script = f"const CHARTS = {_script(charts)};\n{draw}"
    homes = {f"failures-{run.name}": _relative(run.folder.path, where) for run in runs}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["plain"] = safe_text
    template = environment.from_string((PAGE / "report.html.j2").read_text("utf-8"))
    return template.render(
        title=" and ".join(run.name for run in runs),
        sections=shown,
        homes=homes,
        style=(PAGE / "report.css").read_text("utf-8"),
        plotly=plotly,
        script=script,
        hashes=" ".join(map(_hash, (plotly, script))),
    )


def _relative(run: Path, where: Path) -> str:
    return Path(os.path.relpath(run.resolve(), where.resolve())).as_posix()


def _script(value: Any) -> str:
    """JSON inside a script element: no text can end the element."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def write_run_page(
    run: Path, outcomes: Collection[CaseOutcome] = (), *, quiet: bool = False
) -> None:
    """Write the page of a run that is done, and print where it is, or in one line why it is not.

    Args:
        outcomes: of its episodes, where they are known.
        quiet: whether nothing is printed.
    """
    try:
        said = f"page: {write_report([str(run)], outcomes=outcomes)}"
    except ImportError as error:
        said = f"no page: {missing_library(error)}, and run medgym report {run}"
    except (UserError, RunError) as error:  # the run is done nevertheless
        said = f"no page: {error}"
    if not quiet:
        print(safe_line(said, None))
