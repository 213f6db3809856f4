"""The cards of the published data sets: whole, and fit to be fetched."""

import re
from pathlib import Path

import pytest

from medgym.registry import load
from medgym.sources.card import Card
from medgym.sources.cards import all_cards
from medgym.sources.hub.listing import listed
from tests.serving.hub import Hub, client_of, publish_source

CARDS = {card.name: card for card in all_cards()}
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
