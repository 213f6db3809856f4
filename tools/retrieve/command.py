"""`medgym index`: an index for the tool `retrieve`: built, shown, calibrated.

Imports nothing heavy before it knows what is asked.
"""

from pathlib import Path
from typing import Annotated

import typer

from medgym.commands.printing import print_json, print_table
from medgym.commands.shared_options import AsJson, share
from medgym.progress import progress

from .embedders.named import DEFAULTS, EMBEDDERS

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of an index.")]

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


@app.callback()
def index() -> None:
    """Build an index of cases and passages for the tool retrieve; show it; calibrate it.

    Example: medgym index build phantom:train[:200] guide.md --out runs/index
    """


@app.command("build")
def build(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="CASES|FILES",
            help="Cases of the training split: SOURCE:train or FILE.jsonl; passages: "
            "FILE.md, FILE.jsonl, FILE.xml[.gz] of PubMed's form; a folder of such files.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="The folder; an index there is replaced."),
    ],
    embedder: Annotated[
        list[str] | None,
        typer.Option(
            "--embedder",
            metavar="NAME[:DIR]",
            help=f"What makes vectors; may be repeated. Known: {', '.join(EMBEDDERS)}. By default "
            f"{' and '.join(DEFAULTS)}, which need no model.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Build an index of cases and passages.

    Example: medgym index build phantom:train[:200] guide.md --out runs/index
    """
    from .index.build import build_index, check_place
    from .readers.corpora import corpora_of

    check_place(out)
    corpora = corpora_of(names)
    counts = [corpus.count for corpus in corpora]
    total = None if None in counts else sum(count or 0 for count in counts)
    with progress("documents", total) as advance:
        build_index(corpora, out, tuple(embedder or DEFAULTS), advance)
    _print(out, as_json)


@app.command("show")
def show(folder: Folder, as_json: AsJson = False) -> None:
    """Show what an index holds, and what made it.

    Example: medgym index show runs/index
    """
    _print(folder, as_json)


@app.command("calibrate")
def calibrate_index(
    folder: Folder,
    cases: Annotated[
        str | None,
        typer.Argument(metavar="CASES", help="Held-out cases, such as SOURCE:validation."),
    ] = None,
    losses: Annotated[
        Path | None,
        typer.Option(
            "--losses",
            metavar="FILE.jsonl",
            help='In place of CASES: {"case", "k", "loss"} of a policy that read k documents.',
        ),
    ] = None,
    alpha: Annotated[
        float,
        typer.Option(
            "--alpha", parser=share(0.001, 0.999), metavar="SHARE", help="The bound of the risk."
        ),
    ] = 0.1,
    delta: Annotated[
        float,
        typer.Option(
            "--delta",
            parser=share(1e-6, 0.5),
            metavar="SHARE",
            help="The probability with which it may be exceeded.",
        ),
    ] = 0.1,
    as_json: AsJson = False,
) -> None:
    """Find the least number of documents whose risk stays under a bound, as RULE does.

    The risk is that no document has the answer, or what a file of losses says. The number is kept
    in the index; retrieve?index=DIR&select=calibrated hands out so many.

    Example: medgym index calibrate runs/index phantom:validation[:200] --alpha 0.2
    """
    from medgym.cases import open_cases
    from medgym.errors import UserError

    from .index.calibrate import MISSED, calibrate, missed, read_losses
    from .index.search import open_index

    if (cases is None) == (losses is None):
        raise UserError("give held-out cases or --losses FILE, one of the two")
    if losses is not None:
        found, what, of = read_losses(losses), "as the file says", str(losses)
    else:
        held_out = open_cases(str(cases))
        opened = open_index(folder)
        with progress("cases", len(held_out)) as advance:
            found = missed(opened, held_out, advance)
        what, of = MISSED, str(cases)
    calibrate(folder, found, alpha, delta, what, of)
    _print(folder, as_json)


def _print(folder: Path, as_json: bool) -> None:
    from .index.manifest import read_manifest

    manifest = read_manifest(folder)
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    rows = [
        ("index", str(folder)),
        ("documents", f"{manifest.documents}, {manifest.cases} of them cases"),
        *(
            ("source", f"{source['name']}: {source['documents']} {source['kind']}")
            for source in manifest.sources
        ),
        *(
            (f"part {part.modality or 'of no modality'}", _part(part.documents, part.images))
            for part in manifest.parts
        ),
        *(
            (f"recall of {key}, {part.modality or 'no modality'}", f"{recall:.3f}")
            for part in manifest.parts
            for key, recall in part.graphs.items()
        ),
        *(("embedder", f"{s.spec}, {s.dims} numbers") for s in manifest.spaces),
        *(
            (f"left out: {why}", f"{count}, such as {first}")
            for why, (count, first) in manifest.left_out.items()
        ),
    ]
    if (found := manifest.calibration) is not None:
        rows.append(
            ("calibrated", f"k = {found.k}: risk under {found.alpha:g}, delta {found.delta:g}")
        )
    print_table(rows)


def _part(documents: int, images: int) -> str:
    return f"{documents} documents, {images} images"
