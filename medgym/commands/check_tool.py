"""`medgym check tool`: whether a tool keeps the contract of tools, with a line for each check."""

from dataclasses import asdict
from typing import Annotated

import typer

from medgym.case_checks.report import CheckRow
from medgym.commands.printing import print_json, safe_line
from medgym.commands.shared_options import AsJson
from medgym.errors import RunError
from medgym.failures import Failure
from medgym.progress import progress
from medgym.tool import Tool, load_tools
from medgym.tool_checks.run import CALLS, checked_tool
from medgym.tool_checks.tried_images import CASES, rooms


def check_named_tool(
    spec: Annotated[
        str,
        typer.Argument(metavar="TOOL", help="A tool, as --tools names it: segment?backend=sam2."),
    ],
    cases: Annotated[
        str,
        typer.Option("--cases", metavar="SPEC", help="Cases that it is tried on, among others."),
    ] = CASES,
    calls: Annotated[
        int, typer.Option("--calls", min=1, help="Calls that are drawn for each image.")
    ] = CALLS,
    seed: Annotated[int, typer.Option("--seed", help="The same seed draws the same calls.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Try a tool as episodes do: schema, results, purity, batches, bad arguments, odd images, time.

    Exit status 1 where it breaks the contract.

    Example: medgym check tool zoom
    """
    tools = load_tools([spec])
    found = {tool.name: _rows(tool, cases, calls, seed) for tool in tools}
    if as_json:
        passed = {name: all(row.verdict != "fail" for row in rows) for name, rows in found.items()}
        print_json(
            [
                {
                    "tool": name,
                    "spec": spec,
                    "passed": passed[name],
                    "checks": [asdict(row) for row in rows],
                }
                for name, rows in found.items()
            ]
        )
    else:
        for name, rows in found.items():
            for row in rows:
                before = f"{name}  " if len(found) > 1 else ""
                print(safe_line(f"{row.verdict}  {before}{row.check}: {row.figure}", None))
    failed = [(name, row) for name, rows in found.items() for row in rows if row.verdict == "fail"]
    if failed:
        name, row = failed[0]
        raise RunError(
            f"the tool {name} breaks the contract of tools in {len(failed)} of "
            f"{sum(map(len, found.values()))} checks, the first: {row.check}; fix: {row.fix}"
        )


def _rows(tool: Tool, cases: str, calls: int, seed: int) -> list[CheckRow]:
    total = sum(1 for _ in rooms(cases))
    with progress(f"images for {tool.name}", total) as advance:
        try:
            return checked_tool(
                tool, cases=cases, calls=calls, seed=seed, on_image=lambda: advance(1)
            )
        except Failure as failure:
            said = "; ".join([failure.reason, *getattr(failure, "__notes__", ())])
            raise RunError(
                f"the tool {tool.name} was not checked to the end, for what it needs failed: "
                f"{said}; fix: make that run, and check again"
            ) from failure
