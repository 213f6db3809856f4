"""`medgym pairs`: pairs of episodes for preference learning: built, shown, exported.

Imports nothing heavy before it knows what is asked.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medgym.cli import loaded
from medgym.commands.printing import print_json, print_table
from medgym.commands.shared_options import AllowedHosts, AsJson
from medgym.errors import UserError, missing_library
from medgym.progress import progress
from medgym.registry import names

if TYPE_CHECKING:
    from medgym.local_model import LocalModel

VIEWER = "view"
"""The command that writes the page of a folder."""

Pairs = Annotated[Path, typer.Argument(metavar="DIR", help="A folder of pairs.")]

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


@app.callback()
def pairs() -> None:
    """Build pairs of a run's episodes for preference learning; show them; export them.

    Example: medgym pairs build runs/rolled-out --make outcome,looking --out runs/pairs
    """


@app.command("build")
def build(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run with groups.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The new folder of pairs.")],
    make: Annotated[
        list[str] | None,
        typer.Option(
            "--make",
            metavar="A,B",
            help="Builders, joined by commas or repeated, such as outcome,margin=0.5,looking. "
            f"Options follow their builder; weight=3 is its share. Known: "
            f"{', '.join(names('pair_builders'))}.",
        ),
    ] = None,
    cases: Annotated[
        str | None,
        typer.Option(
            "--cases", metavar="CASES", help="Those of the run to use; by default all it played."
        ),
    ] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Pairs of one case.")] = 8,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="hf:PATH", help="The model that learns, to put words into tokens."
        ),
    ] = None,
    judge: Annotated[
        list[str] | None,
        typer.Option(
            "--judge",
            metavar="SPEC",
            help="A policy that scores how relevant each pair is; may be repeated.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same pairs.")] = 0,
    allow_host: AllowedHosts = None,
    as_json: AsJson = False,
) -> None:
    """Make pairs of the episodes of a run, case by case, and write them into a new folder.

    A case that the policy will be tested on, or one of the same patient, is refused.

    Example: medgym pairs build runs/rolled-out --make outcome,looking --out runs/pairs
    """
    try:
        from ..data.preferences.build import build_pairs
        from ..data.preferences.specs import read_makes
        from ..data.preferences.stored import StoredGroups
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    makes = read_makes(make or ["outcome"])
    student = _student(model) if model is not None else None
    total = len(StoredGroups(run))
    with progress("groups", total) as advance:
        folder = build_pairs(
            run,
            makes,
            cases,
            out,
            seed=seed,
            most=most,
            student=student,
            judges=tuple(judge or ()),
            on_group=advance,
        )
    results = {"out": str(out), "pairs": len(folder), **_figures(folder.counts)}
    if as_json:
        print_json(results)
        return
    counts = folder.counts
    print_table(
        [
            ("folder of pairs", str(out)),
            ("pairs", f"{len(folder)} of {counts['cases']} cases"),
            *((f"made by {spec}", str(count)) for spec, count in counts["pairs"].items()),
            *(
                (f"groups without one of {spec}", f"{count} of {counts['groups']}")
                for spec, count in counts["without"].items()
            ),
            *((f"dropped: {why}", str(count)) for why, count in counts["dropped"].items()),
            *(
                (f"scored {how.replace('_', ' ')}", str(count))
                for how, count in counts.get("relevance", {}).items()
                if isinstance(count, int)
            ),
        ]
    )


@app.command("show")
def show(folder: Pairs, as_json: AsJson = False) -> None:
    """Write a page that shows each pair, the chosen episode beside the rejected one.

    Example: medgym pairs show runs/pairs
    """
    from medgym.storage.pair_rows import is_pair_folder

    if not is_pair_folder(folder):
        raise UserError(f"{folder} holds no pairs; fix: medgym pairs build RUN --out {folder}")
    loaded(VIEWER).main(
        [str(folder), *(["--json"] if as_json else [])], prog_name="medgym", standalone_mode=False
    )


@app.command("export")
def export(
    folder: Pairs,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="OUT", help="A new folder: metadata.jsonl and its images."),
    ],
    as_json: AsJson = False,
) -> None:
    """Write pairs for other trainers, in TRL's conversational form.

    Each line of metadata.jsonl has prompt, chosen and rejected as messages, and paths of images.

    Example: medgym pairs export runs/pairs --out exported
    """
    try:
        from ..data.pair_export import export_pairs
        from ..data.preferences.folder import PairFolder
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    pairs = PairFolder.open(folder)
    with progress("pairs", len(pairs)) as advance:
        counts = export_pairs(pairs, out, advance)
    results = {"out": str(out), **counts}
    if as_json:
        print_json(results)
        return
    print_table(
        [
            ("folder", str(out)),
            ("pairs", str(counts["pairs"])),
            ("of one turn", str(counts["one_turn"])),
            ("with images in later turns", str(counts["later_images"])),
            ("images", str(counts["images"])),
        ]
    )


def _student(spec: str) -> "Callable[[], LocalModel]":
    """Loads the model that learns when it is first needed; what can be checked is checked now."""
    from medgym.local_model import LocalModel
    from medgym.policy import load_policy, read_spec

    kind, rest, adapter = read_spec(spec)
    kind.require_library()
    if kind.local_model is not True:
        raise UserError(f"{spec} is no model in this process; fix: --model hf:PATH")
    kind.check_spec(rest, adapter)

    @cache
    def load() -> LocalModel:
        policy = load_policy(spec)
        assert isinstance(policy, LocalModel), "its class says that it is one"
        return policy

    return load


def _figures(counts: dict[str, Any]) -> dict[str, Any]:
    return {"made" if name == "pairs" else name: value for name, value in counts.items()}
