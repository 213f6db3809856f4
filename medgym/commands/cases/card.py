"""The command `medgym cases card`: what a published data set is."""

from dataclasses import asdict
from typing import Annotated

import typer

from medgym.commands.printing import print_json, print_table
from medgym.commands.shared_options import AsJson
from medgym.sources.card import Card
from medgym.sources.cards import all_cards, card_of


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
        cards = list(all_cards())
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
