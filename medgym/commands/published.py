"""The commands `medgym cases get` and `medgym cases card`: fetch a published data set, and say what
it is."""

import sys
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import asdict
from typing import Annotated, Any

import typer

from medgym.commands.printing import print_json, print_table
from medgym.commands.shared_options import AsJson
from medgym.errors import RunError, UserError, unknown
from medgym.interrupt import resumed_by
from medgym.sources.card import Card
from medgym.sources.published import DATA, PublishedSource, data_folder

Data = Annotated[
    str | None,
    typer.Option("--data", metavar="DIR", help=f"The folder of all data sets (else ${DATA})."),
]


def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A published set, as in vqa-rad.")],
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE]...", help="Optional files to fetch too, by name or pattern."
        ),
    ] = None,
    data: Data = None,
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
        print_table(((name, card.title), *about, ("to", str(folder))))
        sys.stdout.flush()
        todo = plan(card, folder, revision, tuple(files or ()))
        left = f"{amount(todo.bytes_left)} to fetch, {amount(todo.free)} free"
        rows = [("files", f"{len(todo.listing.files):,} of {amount(todo.size)}; {left}")]
        optional = [file.path for file in card.files if file.optional]
        if optional and not files:
            more = ", ..." if len(optional) > 5 else ""
            rows.append(("optional", f"{', '.join(optional[:5])}{more} (get {name} FILE ...)"))
        print_table(rows)
        sys.stdout.flush()
    if not dry_run:
        resumed_by("run the same command again")
        fetch(todo)
    said_files = [
        {"path": f.path, "size": f.size, "url": f.url, f.kind or "sha256": f.checksum}
        for f in todo.listing.files
    ]
    if as_json:
        commit = todo.listing.commit
        said = {"name": name, "folder": str(folder), "revision": todo.revision, "commit": commit}
        fetched = 0 if dry_run else len(todo.missing)
        print_json(said | {"licence": card.licence, "fetched": fetched, "files": said_files})
    elif dry_run:
        sizes = ("unknown" if f.size is None else amount(f.size) for f in todo.listing.files)
        print_table(list(zip((f.path for f in todo.listing.files), sizes, strict=True)))
    else:
        option = "" if data_folder() / name == folder else f",data={data}"
        print(f"{name} is whole; next: medgym cases {name}{option}")


def card(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A published set; without it, all are listed."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a published data set is: licence, splits with counts, grouping, faults and leaks.

    Example: medgym cases card vqa-rad
    """
    if name is None:
        cards = list(cards_of_all())
        if as_json:
            print_json([{"name": c.name, "title": c.title, "licence": c.licence} for c in cards])
        elif cards:
            print_table([(c.name, f"{c.title} ({c.licence})") for c in cards])
        else:
            print("no published data set is registered")
        return
    found = card_of(name)
    if as_json:
        print_json(asdict(found))
    else:
        print_table(_lines(found))


def _lines(card: Card) -> list[tuple[str, str]]:
    repo = card.repo or "not on the Hub"
    lines = [
        (card.name, card.title),
        ("home", card.home),
        ("repository", repo + (" (gated)" if card.gated else "")),
    ]
    if card.repo is not None:
        lines.append(("revision", card.revision))
    lines += [("licence", card.licence), ("cite", " ".join(card.citation.split()))]
    for split, counts in card.splits.items():
        images = "" if counts.images is None else f", {counts.images:,} images"
        types = "".join(f", {many:,} {kind}" for kind, many in counts.types.items())
        origin = "" if counts.origin == "counted" else f" ({counts.origin})"
        rows = "?" if counts.rows is None else f"{counts.rows:,}"
        lines.append((split, f"{rows} rows{images}{types}{origin}"))
    lines += [("group", card.grouping), ("layout", card.layout)]
    for file in card.files:
        lines.append(("file", file.path + (" (optional)" if file.optional else "")))
    lines += [("fault", each) for each in card.faults]
    return lines + [("leak", each) for each in card.leaks]


def card_of(name: str) -> Card:
    """The card of a published data set.

    Raises:
        UserError: there is no such source, or it is no published data set.
    """
    from medgym.registry import names

    found = _card(name) if name in names("sources") else None
    if found is None:
        raise unknown("published data set", name, [card.name for card in cards_of_all()])
    return found


def cards_of_all() -> Iterator[Card]:
    """The cards of all published data sets; `medgym list sources` says which sources fail."""
    from medgym.registry import names

    for name in sorted(names("sources")):
        with suppress(UserError, RunError):
            found = _card(name)
            if found is not None:
                yield found


def _card(name: str) -> Card | None:
    from medgym.registry import load

    source: Any = load("sources", name)
    published = isinstance(source, type) and issubclass(source, PublishedSource)
    return source.card if published else None
