"""The questions `length` and `stage`, to which an image alone has no answer, however well seen.

`length` asks for a lesion in millimetres. The scale of such a phantom is its own: its pixels are
those of the phantom of the same number, and its spacing is drawn so that each range of lengths is
right equally often, whatever the lesion's size in pixels. Only a tool that knows the spacing can
tell (`measure`).

`stage` names a rule, which says the stage of every lesion. No pixel depends on it: it has to be
looked up (`retrieve`). See `rules`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

from medgym.cases import Case
from medgym.seeds import seed_of
from medgym.sources.phantom.lesions import shuffled
from medgym.sources.phantom.plan import PhantomPlan
from medgym.sources.phantom.rng import RandomStream
from medgym.sources.phantom.rules import RULE_STAGES, Rule, rules_with
from medgym.sources.phantom.settings import FIRST, SETTINGS

RANGES = 4
"""Ranges of lengths among which the question `length` lets choose."""

SPREAD = (0.8, 1.25)
"""A lesion's length, as a factor on the middle of its range. The ends of a range lie at 0.58 and
1.73 of it, so a length that is measured a quarter too long or too short gives the same answer."""

GROWTH = 3
"""The upper end of a range over its lower one."""

DECK = 24
"""Pairs of phantoms in which every answer is right equally often, as in the deck of lesions."""

Card = TypeVar("Card")


def range_ends(look: str) -> tuple[float, ...]:
    """The lengths in mm between two ranges: each three times the one before."""
    return tuple(SETTINGS[look].block_mm * GROWTH**n for n in range(RANGES - 1))


def range_options(look: str) -> tuple[str, ...]:
    """The options of the question `length`."""
    low, middle, high = (f"{end:g}" for end in range_ends(look))
    return f"under {low} mm", f"{low} to {middle} mm", f"{middle} to {high} mm", f"over {high} mm"


def scaled(plan: PhantomPlan) -> PhantomPlan:
    """The phantom with a scale of its own."""
    choice = _dealt(tuple(range(RANGES)), "phantom scale", plan)
    middle = range_ends(plan.look)[0] / GROWTH**0.5 * GROWTH**choice
    rng = RandomStream(seed_of("phantom length", plan.look, plan.size, _count(plan)))
    length_mm = middle * rng.real(*SPREAD)
    return replace(plan, spacing=length_mm / (plan.length * plan.block))


def range_of(plan: PhantomPlan) -> str:
    """The range in which the lesion's length lies."""
    options = range_options(plan.look)
    return options[sum(plan.length_mm > end for end in range_ends(plan.look))]


def rule_of(plan: PhantomPlan) -> Rule:
    """The rule by which the question `stage` asks."""
    stage = _dealt(RULE_STAGES, "phantom rule's stage", plan)
    rules = rules_with(plan.split, stage)
    rng = RandomStream(seed_of("phantom rule", plan.look, plan.size, _count(plan)))
    return rules[rng.integer(0, len(rules))]


@dataclass(frozen=True)
class ToolQuestion:
    """What a case asks, and the tool without which it cannot be answered."""

    tool: str
    text: Callable[[PhantomPlan], str]
    options: Callable[[str], tuple[str, ...]]
    answer: Callable[[PhantomPlan], str]
    needs_lesion: bool = True


LENGTH_TEXT = "How many millimetres long is the lesion along its longest side?"

TOOL_QUESTIONS = {
    "length": ToolQuestion("measure", lambda plan: LENGTH_TEXT, range_options, range_of),
    "stage": ToolQuestion(
        "retrieve",
        lambda plan: f"Which stage is the lesion by the rule {rule_of(plan).name}?",
        lambda look: RULE_STAGES,
        lambda plan: rule_of(plan).stage,
    ),
}


def question_name(case: Case) -> str:
    """Which of the questions a phantom of one image is asked, as its id says."""
    return case.id.rsplit("-", 2)[1]


def needed_tool(case: Case) -> str | None:
    """The one tool without which a case cannot be answered; None where none is, or it is not known.

    It is known of phantoms of one image: `zoom` for the kind, and what `TOOL_QUESTIONS` says.
    """
    look = case.images[0].uri.split("/")[1:2] if case.images else []
    if case.source != "phantom" or not SETTINGS.keys() & set(look) or case.id.count("-") < 2:
        return None
    name = question_name(case)
    if name == "kind":
        return "zoom"
    return TOOL_QUESTIONS[name].tool if name in TOOL_QUESTIONS else None


def _count(plan: PhantomPlan) -> int:
    return FIRST[plan.split] + plan.number


def _dealt(cards: Sequence[Card], purpose: str, plan: PhantomPlan) -> Card:
    """A card of the deck of a phantom's pair, in which all are equally often."""
    pair = _count(plan) // 2
    order = _order(len(cards), purpose, plan.look, plan.size, pair // DECK)
    return cards[order[pair % DECK]]


@lru_cache(maxsize=256)
def _order(cards: int, purpose: str, look: str, size: int, number: int) -> tuple[int, ...]:
    deck = [place % cards for place in range(DECK)]
    return shuffled(deck, RandomStream(seed_of(purpose, look, size, number)))
