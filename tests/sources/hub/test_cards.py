"""The cards of the published data sets: whole, true to the page in docs/, and fit to be fetched."""

import inspect
import os
import re
from pathlib import Path
from typing import Any

import pytest

from medgym.registry import load
from medgym.sources.card import Card
from medgym.sources.cards import all_cards
from medgym.sources.hub.listing import listed
from tests.serving.hub import Hub, client_of, publish_source

CARDS = {card.name: card for card in all_cards()}
PAGE = Path(__file__).parents[3] / "docs" / "data-sets.md"
BEGIN, END = "<!-- data sets -->\n", "<!-- end -->\n"
COMMIT = re.compile("[0-9a-f]{40}")


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS.keys())
def test_a_card_is_whole(card: Card) -> None:
    for text in (card.title, card.licence, card.citation, card.grouping, card.layout):
        assert text.strip()
    assert card.home.startswith("https://")
    assert card.splits
    assert card.files
    if card.repo is not None and not COMMIT.fullmatch(card.revision):
        assert any("revision" in fault for fault in card.faults), "say that it is not pinned"


@pytest.mark.parametrize("name", CARDS)
def test_what_a_card_names_can_be_fetched(hub: Hub, name: str, tmp_path: Path) -> None:
    """Its patterns name files of a repository; what it names elsewhere is asked for there."""
    with client_of(hub) as patch:
        for file in CARDS[name].files:
            place = tmp_path / file.path.replace("*", "some")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.path.encode())
        patch.setenv("HF_TOKEN", "hf_any")
        publish_source(hub, patch, load("sources", name), tmp_path)
        card = load("sources", name).card
        fetched = [f for f in card.files if f.url is not None or card.repo is not None]
        if any(not file.optional for file in fetched):
            assert listed(card, card.revision).files
        files = {file.path for file in listed(card, card.revision, ("*",)).files}
        assert files == {file.path.replace("*", "some") for file in fetched}


def test_the_page_has_the_cards() -> None:
    """`WRITE_DATA_SETS=1 pytest -n0 FILE` writes its table."""
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    table = before + BEGIN + _table() + END + rest.partition(END)[2]
    if os.environ.get("WRITE_DATA_SETS"):
        PAGE.write_text(table, "utf-8")
        return
    assert page == table, "the table is old; fix: WRITE_DATA_SETS=1"


def test_the_page_has_every_option() -> None:
    page = PAGE.read_text("utf-8")
    for name in CARDS:
        for option in inspect.signature(load("sources", name)).parameters:
            if option not in ("data", "counts"):
                assert re.search(rf"\| `{name}` \|.*`{option}=", page), f"{name}: {option}"


def _table() -> str:
    rows = ["| set | splits (rows) | group | what splits share | licence | get it |"]
    rows.append("|---|---|---|---|---|---|")
    for card in CARDS.values():
        splits = ", ".join(f"`{split}` {_rows(c.rows)}" for split, c in card.splits.items())
        name = f"[`{card.name}`]({card.home}) {_rest(card)}"
        cells = (name, splits, card.grouping, "; ".join(card.leaks), card.licence, _get(card))
        rows.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join(rows) + "\n"


def _rest(card: Card) -> str:
    """The title without the name that it may begin with."""
    return card.title.partition(": ")[2] or card.title


def _rows(rows: int | None) -> str:
    return "?" if rows is None else f"{rows:,}"


def _get(card: Card) -> str:
    if not any(f.url is not None or card.repo is not None for f in card.files):
        return "by hand"
    needed = [file for file in card.files if not file.optional]
    optional = [file.path for file in card.files if file.optional]
    more = f"; optional: {', '.join(f'`{path}`' for path in optional[:6])}" if optional else ""
    more += ", ..." if len(optional) > 6 else ""
    gated = " (gated)" if card.gated else ""
    return f"`medgym cases get {card.name}{'' if needed else ' FILE'}`{gated}{more}"


def _cell(text: Any) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")
