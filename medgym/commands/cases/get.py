"""The command `medgym cases get`: fetch a published data set."""

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from medgym.commands.printing import print_json, print_table
from medgym.commands.shared_options import AsJson
from medgym.interrupt import resumed_by
from medgym.sources.cards import card_of
from medgym.sources.published import DATA, data_folder


def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A published set, as in vqa-rad.")],
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", help="Optional files to fetch too, by name or pattern."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DIR", help=f"The folder of all data sets (else ${DATA})."),
    ] = None,
    only: Annotated[
        bool, typer.Option("--only", help="Fetch the named files, and no others.")
    ] = False,
    revision: Annotated[
        str | None,
        typer.Option("--revision", metavar="REV", help="Another revision than the counted one."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show licence, files and sizes; fetch nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a published data set into DIR/NAME; the same command resumes an interrupted download.

    Example: medgym cases get vqa-rad --data ~/data
    """
    from medgym.sources.hub.fetch import amount, fetch, plan

    card = card_of(name)
    folder = data_folder(data) / name
    with redirect_stdout(sys.stderr if as_json else sys.stdout):
        about = (("licence", card.licence), ("cite", card.citation), ("from", card.home))
        place = (("to", str(folder)), ("layout", card.layout))
        print_table(((name, card.title), *about, *place))
        sys.stdout.flush()
        todo = plan(card, folder, revision, tuple(files or ()), only=only)
        left = f"{amount(todo.bytes_left)} to fetch, {amount(todo.free)} free"
        rows = [("files", f"{len(todo.listing.files):,} of {amount(todo.size)}; {left}")]
        optional = [file.path for file in card.files if file.optional]
        if optional and not files:
            more = ", ..." if len(optional) > 5 else ""
            rows.append(("optional", f"{', '.join(optional[:5])}{more} (get {name} FILE ...)"))
        print_table(rows)
        sys.stdout.flush()
    known = {f.path: {"size": f.size, f.kind or "sha256": f.checksum} for f in todo.listing.files}
    if not dry_run:
        resumed_by("run the same command again")
        known |= fetch(todo).files
    if as_json:
        print_json(
            {
                "name": name,
                "folder": str(folder),
                "revision": todo.revision,
                "commit": todo.listing.commit,
                "licence": card.licence,
                "fetched": 0 if dry_run else len(todo.missing),
                "files": [
                    {"path": file.path, "url": file.url} | known[file.path]
                    for file in todo.listing.files
                ],
            }
        )
    elif dry_run:
        sizes = ("unknown" if f.size is None else amount(f.size) for f in todo.listing.files)
        print_table(list(zip((f.path for f in todo.listing.files), sizes, strict=True)))
    else:
        option = "" if data_folder() / name == folder else f",data={data}"
        print(f"{name} is whole; next: medgym cases {name}{option}")
