"""Options of `medgym eval` for models that were not trained here, and for how it samples."""

from pathlib import Path
from typing import Annotated

import typer

from medgym.commands.shared_options import share

Prompt = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        metavar="FILE|TEXT",
        help="A system prompt that stands before medgym's instructions.",
    ),
]
Prices = Annotated[
    Path | None,
    typer.Option(
        "--prices", metavar="FILE.toml", help="Prices per million tokens; shows the cost."
    ),
]
CacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help="Keep replies in this folder; the same request is answered from there.",
    ),
]
FailAbove = Annotated[
    float,
    typer.Option(
        "--fail-above",
        parser=share(),
        metavar="SHARE",
        help="Give up once a greater share of episodes than this, such as 5% or 0.05, has failed "
        "for good; of a suite only the benchmark.",
    ),
]
ToolsOrArms = Annotated[
    str | None,
    typer.Option(
        "--tools",
        metavar="A,B|on,off,oracle",
        help="Tools, joined by commas; zoom by default. Or play the same cases with the tools, "
        "without them, and with an ideal first look: on,off,oracle.",
    ),
]
By = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="KIND,...",
        help="Also the accuracy by kind of case: modality, body_part, answer_type, language, "
        "source.",
    ),
]
GreedyTemperature = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        min=0.0,
        help="Sampling temperature; by default 0 (greedy), with --repeats 1.",
    ),
]


def temperature_of(given: float | None, repeats: int) -> float:
    """Greedy by default, except where several episodes of a case are to differ."""
    return given if given is not None else 0.0 if repeats == 1 else 1.0
