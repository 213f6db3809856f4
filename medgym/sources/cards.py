"""The cards of the published data sets that are registered."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from medgym.errors import RunError, UserError, unknown
from medgym.registry import load, names
from medgym.sources.card import Card
from medgym.sources.published import PublishedSource


def card_of(name: str) -> Card:
    """The card of a published data set.

    Raises:
        UserError: there is no such source, or it is no published data set.
    """
    found = _card(name) if name in names("sources") else None
    if found is None:
        raise unknown("published data set", name, [card.name for card in all_cards()])
    return found


def all_cards() -> Iterator[Card]:
    """The cards of all published data sets; `medgym list sources` says which sources fail."""
    for name in sorted(names("sources")):
        with suppress(UserError, RunError):
            found = _card(name)
            if found is not None:
                yield found


def _card(name: str) -> Card | None:
    source: Any = load("sources", name)
    published = isinstance(source, type) and issubclass(source, PublishedSource)
    return source.card if published else None
