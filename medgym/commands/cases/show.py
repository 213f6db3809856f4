"""The command `medgym cases show`: cases drawn on a sheet."""

from pathlib import Path
from typing import Annotated, Any

import typer

from medgym.cases import Case
from medgym.commands.printing import print_json, safe_line
from medgym.commands.shared_options import AsJson, CasesSpec, ViewSize, cases_and_rules
from medgym.errors import UserError

MOST = 4
"""Pictures of a case in a row."""


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
    from PIL import Image

    from medgym.imaging.drawing import sheet
    from medgym.imaging.opened import UnreadableImage

    if out.suffix.lower() != ".png":
        raise UserError(f"--out {out} is no PNG file; fix: name it FILE.png")
    found, rules = cases_and_rules(spec, tools=(), view_size=view_size)
    tiles = []
    unreadable: dict[str, str] = {}
    for case in found[:limit]:
        caption = f"{case.id}: {case.answer}" if gold else case.id
        try:
            workspace = rules.begin(case).workspace
            pictures = drawn(case, workspace, side=side, full=full, gold=gold)
        except UnreadableImage as error:
            unreadable[case.id] = str(error)
            caption, pictures = f"unreadable: {caption}", [Image.new("RGB", (side, side), "grey")]
        if len(pictures) > MOST:
            lines = [pictures[at : at + MOST] for at in range(0, len(pictures), MOST)]
            pictures = [sheet([("", line) for line in lines], 1)]
        tiles.append((safe_line(caption), pictures))
    out.parent.mkdir(parents=True, exist_ok=True)
    page = sheet(tiles, columns)
    page.save(out, optimize=True)
    if as_json:
        shown = {"out": str(out), "cases": len(tiles), "size": list(page.size)}
        print_json(shown | {"unreadable": unreadable})
    else:
        for why in unreadable.values():
            print(safe_line(why, None))
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
