"""`medgym doctor`: what must be true of a model before anything trains, and of a run's records.

Nothing heavy is imported before it is clear that there is something to examine.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medgym.errors import RunError, UserError, missing_library

if TYPE_CHECKING:
    from .checks import Check
    from .subject import Subject

MARKS = {"pass": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    named: Annotated[
        str,
        typer.Argument(
            metavar="MODEL_OR_RUN",
            help="A model's folder, hub name or built-in name, hf:PATH@ADAPTER, a run's folder, or "
            "an engine: vllm:PATH, openai:URL#MODEL.",
        ),
    ],
    cases: Annotated[
        str | None,
        typer.Option(
            "--cases",
            metavar="SPEC",
            help="What is asked. [default: a run's own, or phantom:test[:16]]",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="FOLDER",
            help="The folder of an engine's model, to compare its log-probabilities.",
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs",
            metavar="DIR",
            help="A folder of `medgym pairs build`, from which the model is to learn.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")
    ] = False,
) -> None:
    """Examine a model before it trains: template, images, log-probabilities, sight.

    Example: medgym doctor runs/tiny
    """
    from .subject import subject_of, with_pairs

    try:
        found = _of_engine(named, cases, model, pairs) or examine(
            with_pairs(subject_of(named, cases), pairs)
        )
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    if as_json:
        print(json.dumps([asdict(check) for check in found], indent=2, ensure_ascii=False))
    else:
        _print(found)
    failed = [check.check for check in found if check.verdict == "fail"]
    if failed:
        raise RunError(
            f"{len(failed)} of {len(found)} checks failed: {', '.join(failed)}; "
            "fix: as the report says"
        )


def _of_engine(
    named: str, cases: str | None, model: str | None, pairs: Path | None
) -> "list[Check]":
    """The checks of an engine; none where something else is named."""
    from medgym.commands.shared_options import cases_and_rules
    from medgym.episode import DEFAULT_TOOLS

    from .subject import CASES, is_engine

    if not is_engine(named):
        if model is not None:
            raise UserError("--model is of an engine; fix: name one, or the model itself")
        return []
    if pairs is not None:
        raise UserError("an engine learns from no pairs; fix: name the folder of its model")
    from .engine import engine_of, examine_engine

    asked, rules = cases_and_rules(cases or CASES, tools=DEFAULT_TOOLS, max_turns=3)
    engine = engine_of(named, asked, rules, model)
    try:
        return examine_engine(engine)
    finally:
        engine.policy.close()


def examine(subject: "Subject") -> "list[Check]":
    """Every check that can be made of a subject, in order.

    Where the chat template cannot serve, no episode can be rolled out, and the checks after it are
    omitted. Where there are only records, only these are checked.
    """
    from medgym.progress import progress

    from . import checks as model
    from . import pairs as of_pairs
    from . import sight as episodes
    from .tool_form import tool_form
    from .view_size import view_size

    wanted = {
        "template": model.template,
        "tool images": model.tool_images,
        "features": model.features,
        "view size": view_size,
        "images": episodes.images,
        "vision tokens": model.vision_tokens,
        "agreement": episodes.agreement,
        "sight": episodes.sees,
        "tool form": tool_form,
    }
    if subject.pairs is not None:
        wanted |= {"pairs": of_pairs.pairs, "pair sight": of_pairs.pair_sight}
    if subject.model is None:
        wanted = {}
    if subject.run is not None:
        wanted["records"] = episodes.records
    found: list[Check] = []
    with progress("checks", len(wanted)) as advance:
        for name, check in wanted.items():
            usable = all(made.verdict != "fail" for made in found if made.check == "template")
            if usable or name == "records":
                found.append(model.guarded(name, check, subject))
            advance(1)
    return found


def _print(found: "list[Check]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("check", "verdict", "figure", "fix", expand=False)
    for check in found:
        figure = ", ".join(f"{name} {_number(value)}" for name, value in check.figure.items())
        verdict = Text(check.verdict, style=MARKS[check.verdict])
        table.add_row(check.check, verdict, Text(figure), Text(check.fix))
    Console().print(table)


def _number(value: float | int | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
