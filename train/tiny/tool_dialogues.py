"""What the base of `tiny-tools` imitates: each question with its tool, or with another one.

The chooser calls `zoom`, `measure` or `retrieve`, mostly the one that the question needs, and then
answers by what it was told; or it guesses, with and without tools.
"""

from collections.abc import Sequence
from itertools import chain

from medgym.cases import LETTERS, Case
from medgym.episode import Rules
from medgym.messages import Message, Reply, render_call
from medgym.policy import Policy, Sampling, WrappedPolicy, load_policy
from medgym.rollout import collect
from medgym.sources.phantom.rules import FIRST_WORDS, RULE_STAGES, SECOND_WORDS
from medgym.tool import Tool, load_tools

from .dialogues import Dialogues
from .tokenizer import answer_pieces, call_pieces

LOOKER = "scripted:chooser,good=0.75,random=0.1"
MEASURER = "scripted:chooser,good=0.8,random=0.2"
SHOWN = "scripted:chooser"
TOOLS: tuple[str | Tool, ...] = ("zoom", "measure", "retrieve?passages=phantom-rules")

GRID = 32
"""Steps along each side of a view on which the points of `measure` lie, as the chooser has it."""

WINDOWS = 8
"""Eighths of a view, on which the boxes of `zoom` begin and end."""

LENGTHS = 100
"""Whole millimetres that are one token. A longer length is spelled after its first digit."""


def looking(
    cases: Sequence[Case],
    measured: Sequence[Case],
    view_size: int,
    direct: float,
    refused: float,
) -> list[Dialogues]:
    """Dialogues of one policy, as those of `tiny`, with three tools.

    Args:
        cases: all are used with the tools.
        measured: further cases that ask for a length, with `measure` alone: where a lesion ends is
            harder to see than where it is, and what is measured anywhere has to be read, too.
        view_size: of the views.
        direct: share of further dialogues in which there is no tool and it guesses at once.
        refused: share of those in which it calls a tool that is not there, then guesses.
    """
    armed, bare = _rules(view_size, TOOLS), _rules(view_size, ())
    measuring = _rules(view_size, ("measure",))
    first, second = (round(share * len(cases)) for share in (direct, refused))
    looker = load_policy(LOOKER)
    return [
        Dialogues(cases, looker, armed),
        Dialogues(measured, load_policy(MEASURER), measuring),
        Dialogues(cases[:first], looker, bare),
        Dialogues(cases[first : first + second], Insistent(), bare),
    ]


def _rules(view_size: int, tools: Sequence[str | Tool]) -> Rules:
    return Rules(tools=load_tools(tools), max_turns=2, view_size=view_size)


class Insistent(WrappedPolicy):
    """Calls the tool that a question needs whether there is one or not, then guesses."""

    spec = "an insistent chooser"

    def __init__(self) -> None:
        super().__init__(load_policy("scripted:prior"))

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The call, or the guess."""
        if any(each.role == "assistant" for each in conversation):
            return await self.policy.act(conversation, sampling)
        question = conversation[-1].text
        if " by the rule " in question:
            return Reply(retrieve_call(FIRST_WORDS[0], SECOND_WORDS[0]))
        if " millimetres " in question:
            return Reply(measure_call([[250, 250], [500, 250]]))
        return Reply(render_call("zoom", {"view": 0, "box": [250, 250, 500, 500]}))


def retrieve_call(first: str, second: str) -> str:
    """A search for a rule by its two words."""
    return render_call("retrieve", {"query": f"rule {first} {second}", "k": 1})


def measure_call(points: Sequence[Sequence[int]]) -> str:
    """The length between two points of the first view."""
    return render_call("measure", {"view": 0, "kind": "length", "points": points})


def retrieve_pieces() -> tuple[str, ...]:
    """The pieces of `retrieve_call`, of the questions that name a rule, and of its passages.

    Each word of a rule is one token wherever it stands, so that a policy can copy it.
    """
    head, _, tail = retrieve_call("|", "|").split("|")
    said = (f": every lesion is of {stage}." for stage in RULE_STAGES)
    words = (*(f"{word} " for word in FIRST_WORDS), *SECOND_WORDS)
    return (head, tail, "[1] Rule ", *words, *said)


def measure_pieces() -> tuple[str, ...]:
    """The pieces of `measure_call` and of its results.

    A number is one token together with its bracket, so that it is no number of a box: those lie
    on a coarser grid, and would draw a lesion's ends to it.
    """
    head, tail = measure_call([[7, 8], [7, 8]]).split("[7, 8], [7, 8]]")
    numbers = [round(step * 1000 / GRID) for step in range(GRID + 1)]
    whole = (f"Length {number}." for number in range(LENGTHS))
    long = (f"Length {digit}" for digit in range(1, 10))
    ends = (f"{digit} mm." for digit in range(10))
    points = chain.from_iterable((f"[{n}, ", f"{n}], ", f"{n}]]") for n in numbers)
    return (head, tail, *points, *whole, *long, *ends)


def heard(lessons: Sequence[Dialogues]) -> tuple[list[str], list[str]]:
    """The strings that dialogues are made of, found by playing some; and the views' hashes."""
    texts: dict[str, None] = {}
    pictures: list[str] = []

    def listen(messages: Sequence[Message]) -> None:
        for each in messages:
            pictures.extend(part.sha256 for part in each.images)
            if each.role != "assistant":
                texts.update(dict.fromkeys(_pieces(each.text)))

    shown = load_policy(SHOWN)
    for number, each in enumerate(lessons):
        policy: Policy = each.policy if isinstance(each.policy, Insistent) else shown
        some = each.cases[: 6 if number else 96]
        for _ in collect(some, policy, each.rules, on_messages=listen, concurrency=1):
            pass
    letters = LETTERS[: max(len(case.options) for each in lessons for case in each.cases[:6])]
    windows = call_pieces(round(step * 1000 / WINDOWS) for step in range(WINDOWS + 1))
    made = (*windows, *measure_pieces(), *retrieve_pieces(), *answer_pieces(letters))
    return [*texts, *made], pictures


def _pieces(text: str) -> list[str]:
    """A message whole; but a question in two parts around the rule that it names, and nothing of
    the results that `measure_pieces` and `retrieve_pieces` have."""
    if text.startswith(("Length ", "[1] ")):
        return []
    before, asked, after = text.partition(" by the rule ")
    return [before + asked, after[after.index("?") :]] if asked else [text]
