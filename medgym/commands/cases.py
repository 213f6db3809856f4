"""The command `medgym cases`: list cases, draw them, check that they are what they claim, fetch
published ones, and scrub images."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from medgym.case_spec import splits_of
from medgym.cases import LETTERS, Case, open_cases
from medgym.commands.printing import print_json, print_table, safe_line
from medgym.commands.published import card, get
from medgym.commands.scrub import scrub
from medgym.commands.shared_options import AsJson, CasesSpec, ViewSize, cases_and_rules
from medgym.errors import RunError, UserError
from medgym.progress import progress
from medgym.regions import Region

QUESTION = 4000
"""Characters of a question that are printed."""


class ListByDefault(TyperGroup):
    """`medgym cases SPEC` is `medgym cases list SPEC`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` before arguments that name no sub-command."""
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=ListByDefault,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def cases() -> None:
    """List cases, draw them, check them; de-identify images.

    Example: medgym cases phantom,question=kind:test[:5] --gold
    """


@app.command("list")
def list_cases(
    spec: CasesSpec,
    gold: Annotated[
        bool, typer.Option("--gold", help="Show answers and gold regions too.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="At most this many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List cases, or the splits of a source; `medgym cases CASES` is short for it.

    Example: medgym cases phantom:test[:5] --gold
    """
    splits = splits_of(spec)
    if splits:
        counts = {split: len(open_cases(f"{spec}:{split}")) for split in splits}
        if as_json:
            print_json({"splits": counts})
        else:
            print_table([(f"{spec}:{split}", f"{n:,} cases") for split, n in counts.items()])
        return
    found = open_cases(spec)
    shown = list(found[:limit])
    if as_json:
        print_json({"count": len(found), "cases": [_plain(case, gold) for case in shown]})
        return
    for case in shown:
        print(f"{safe_line(case.id)}  [{case.answer_type}]")
        print(f"  {safe_line(case.question, QUESTION)}{''.join(_options(case))}")
        if gold:
            print(f"  gold: {safe_line(case.answer)}{''.join(_regions(case))}")
    rest = f", {len(shown)} of them listed (--limit)" if len(shown) < len(found) else ""
    print(f"{len(found):,} cases{rest}")


def _plain(case: Case, gold: bool) -> dict[str, Any]:
    if not gold:
        return case.model_dump(mode="json", exclude={"answer", "regions"})
    # A mask is of no use to a reader of lists, and its runs are long.
    return case.model_dump(mode="json", exclude={"regions": {"__all__": {"mask"}}})


def _options(case: Case) -> Sequence[str]:
    options = zip(LETTERS, case.options, strict=False)
    return [f"  {letter}. {safe_line(text)}" for letter, text in options]


def _regions(case: Case) -> Sequence[str]:
    return [
        f"; {safe_line(r.label)} at {', '.join(f'{v:g}' for v in r.box_px)} px of image {r.image}"
        f"{_place(r)}"
        for r in case.regions
    ]


def _place(region: Region) -> str:
    """On which images of a study a region lies; nothing where there is only one."""
    if region.plane is None or region.index is None:
        return ""
    last = region.index + region.count - 1
    to = f" to {last}" if region.count > 1 else ""
    return f", {safe_line(region.plane)} {region.index}{to}"


@app.command("show")
def show(
    spec: CasesSpec,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.png", help="The picture to write.")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most this many.")] = 8,
    full: Annotated[bool, typer.Option("--full", help="The whole image at full size too.")] = False,
    gold: Annotated[
        bool, typer.Option("--gold", help="Box the gold regions, and show each close up.")
    ] = False,
    columns: Annotated[int, typer.Option("--columns", min=1, help="Cases in a row.")] = 2,
    side: Annotated[
        int, typer.Option("--side", min=32, help="Side of a drawn view, in pixels.")
    ] = 320,
    view_size: ViewSize = None,
    as_json: AsJson = False,
) -> None:
    """Draw cases on one sheet: the overview that a policy starts with, enlarged; of a volume some
    slices too.

    Example: medgym cases show phantom,question=kind:test --gold -n 8 --out phantoms.png
    """
    from medgym.imaging.drawing import sheet

    if out.suffix.lower() != ".png":
        raise UserError(f"--out {out} is no PNG file; fix: name it FILE.png")
    found, rules = cases_and_rules(spec, tools=(), view_size=view_size)
    tiles = []
    for case in found[:limit]:
        workspace = rules.begin(case).workspace
        pictures = drawn(case, workspace, side=side, full=full, gold=gold)
        caption = f"{case.id}: {case.answer}" if gold else case.id
        tiles.append((safe_line(caption), pictures))
    out.parent.mkdir(parents=True, exist_ok=True)
    page = sheet(tiles, columns)
    page.save(out, optimize=True)
    if as_json:
        print_json({"out": str(out), "cases": len(tiles), "size": list(page.size)})
    else:
        print(f"{out}: {len(tiles)} cases, {page.width} x {page.height} pixels")


def drawn(case: Case, workspace: Any, *, side: int, full: bool, gold: bool) -> list[Any]:
    """A case's overviews, and where asked its whole images and its gold regions close up. Of a
    volume some slices too."""
    from medgym.commands.slices import around, some_slices
    from medgym.imaging.drawing import GOLD, Mark, enlarged, marked
    from medgym.metrics.regions import placed, shows

    pictures = []
    for number, view in enumerate(workspace.views):
        regions = [r for r in placed(case) if r.image == view.image] if gold else []
        marks = [Mark(region.box_px, GOLD) for region in regions if shows(view, region)]
        pictures.append(marked(view.picture, view.box_px, marks, side))
        study = workspace.study(view)
        if full:
            pictures.append(study.render(view.box_px, study.size))
        for region in regions:
            place = view.place
            if region.plane is not None:  # in a volume it is shown once, on its own slice
                if number >= len(case.images):
                    continue
                place = workspace.place(view.image, region.plane, region.middle)
            size = workspace.images[view.image].size(place)
            window = around(region.box_px, workspace.view_size, size)
            close = workspace.look(view.image, window, enlarge=False, made_by=None, **vars(place))
            pictures.append(enlarged(close.picture, side))
    for image, opened in enumerate(workspace.images):
        if opened.has_many:
            pictures.append(some_slices(case, workspace, image, side=side, gold=gold))
    return pictures


@app.command("check")
def check(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="What to check: phantom, or cases such as phantom:test."
        ),
    ],
    n: Annotated[int, typer.Option("--n", min=1, help="How many cases to check.")] = 800,
    no_probe: Annotated[
        bool, typer.Option("--no-probe", help="Omit the supervised probe.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check that phantoms are what they claim: no overview tells the kind, and the gold is true.

    Exit status 1 where a check fails.

    Example: medgym cases check phantom
    """
    from medgym.sources.phantom.check import check_phantoms

    found = open_cases(f"{spec}:test" if splits_of(spec) else spec)[:n]
    with progress("cases", len(found)) as advance:
        report = check_phantoms(found, probe=not no_probe, progress=lambda done, total: advance(1))
    if as_json:
        print_json([asdict(row) for row in report.rows])
    else:
        for row in report.rows:
            fix = f"; fix: {row.fix}" if row.fix else ""
            print(f"{row.verdict}  {row.check}: {row.figure}{fix}")
    failed = [row for row in report.rows if row.verdict == "fail"]
    if failed:
        raise RunError(
            f"{len(failed)} of {len(report.rows)} checks failed, the first: {failed[0].check}; "
            f"fix: {failed[0].fix}"
        )


app.command("get")(get)
app.command("card")(card)
app.command("scrub")(scrub)
