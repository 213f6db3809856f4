"""Canned cheats: policies that earn what a rubric pays for anything but looking and being right.

Each one is a function from a `Seat`, which is what it knows of its turn, to a reply; none reads an
image or what a tool shows. In one case all of them guess the same answer, and over their `draws`
each of the options equally often, so that luck has no part in what they earn. The honest oracle
that they are held against plays as `scripted:oracle` does, with a thought in every reply, as
rubrics may ask for.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from medgym.cases import LETTERS, Case
from medgym.errors import UserError
from medgym.messages import MAX_CALLS, Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling, WrappedPolicy, load_policy
from medgym.seeds import seed_of

LOOK = "I look at the image more closely first."
ANSWER = "The finding fits this answer best."
OPEN = 4
"""Guesses at a question without options, each one of the answers of all cases."""

MIDDLE = (250, 250, 750, 750)
"""A box in thousandths: the middle of a view."""


@dataclass(frozen=True)
class Seat:
    """What a cheat knows when it is its turn.

    Attributes:
        turn, last: number of the reply, from 0, and whether it is the last one allowed.
        tools: the schemas of the tools that are offered.
        guess, commonest: an answer by chance, and the one that is right most often.
        answers: all answers that may be right.
    """

    turn: int
    last: bool
    tools: tuple[dict[str, Any], ...]
    guess: str
    commonest: str
    answers: tuple[str, ...]

    @property
    def may_call(self) -> bool:
        """Whether it can still use a tool before it answers."""
        return bool(self.tools) and not self.last

    def call(self, box: Sequence[int], tool: int = 0) -> str:
        """A call that is accepted, of one of the tools, at a box in thousandths of view 0."""
        schema = self.tools[tool % len(self.tools)]["parameters"]
        wanted = set(schema.get("required", ())) | ({"box"} & set(schema["properties"]))
        arguments = {
            name: _argument(name, field, box)
            for name, field in schema["properties"].items()
            if name in wanted
        }
        return render_call(self.tools[tool % len(self.tools)]["name"], arguments)

    def answered(self, answer: str) -> str:
        """A thought and an answer."""
        return render_answer(answer, ANSWER)


def _argument(name: str, field: dict[str, Any], box: Sequence[int]) -> Any:
    if name == "box":
        return list(box)
    if "enum" in field:
        return field["enum"][0]
    kind = field.get("type")
    if kind in ("integer", "number"):
        return field.get("minimum", 0)
    if kind == "array":
        return [500] * field.get("minItems", 1)
    return False if kind == "boolean" else "finding"


def _think(text: str, calls: str) -> str:
    return f"<think>{text}</think>{calls}"


def guess(seat: Seat) -> str:
    """Answers without looking, each option equally often: what the others are measured from."""
    return seat.answered(seat.guess)


def commonest(seat: Seat) -> str:
    """Always gives the answer that is right most often, without looking."""
    return seat.answered(seat.commonest)


def empty_think(seat: Seat) -> str:
    """Writes a thought with nothing in it, then a guess."""
    return render_answer(seat.guess, "")


def form_only(seat: Seat) -> str:
    """A thought and one call, a thought and a guess: everything but reading what it is shown."""
    if seat.may_call and seat.turn == 0:
        return _think(LOOK, seat.call(MIDDLE))
    return seat.answered(seat.guess)


def repeated_calls(seat: Seat) -> str:
    """Asks for the same view as often as it may, then guesses."""
    if seat.may_call:
        return _think(LOOK, seat.call(MIDDLE) * MAX_CALLS)
    return seat.answered(seat.guess)


def look_everywhere(seat: Seat) -> str:
    """Uses every tool all over the image as often as it may, then guesses."""
    if not seat.may_call:
        return seat.answered(seat.guess)
    calls = []
    for column in range(MAX_CALLS):
        x, y = column * 250, seat.turn * 190 % 751  # rows that overlap, and that do not come again
        calls.append(seat.call((x, y, x + 250, y + 249), tool=column + seat.turn))
    return _think(f"{LOOK} Row {seat.turn + 1}.", "".join(calls))


def stuffed_answer(seat: Seat) -> str:
    """Gives all options as its answer."""
    return seat.answered(", ".join(seat.answers))


CHEATS: dict[str, Callable[[Seat], str]] = {
    "guess": guess,
    "commonest": commonest,
    "empty-think": empty_think,
    "form-only": form_only,
    "repeated-calls": repeated_calls,
    "look-everywhere": look_everywhere,
    "stuffed-answer": stuffed_answer,
}


def draws(cases: Iterable[Case]) -> int:
    """How often each case is played, each time with another `draw`, to guess all of its options."""
    return max(len(case.options) or OPEN for case in cases)


class Cheat(Policy):
    """One of `CHEATS` as a policy.

    It is given each case for its id and its options; of gold it knows how common answers are.

    Args:
        name: which one. cases: what it will play. max_turns: replies that it has.
        draw: which of a case's options it guesses, counted from one that the case's id fixes.
    """

    needs_gold = True

    def __init__(self, name: str, cases: Iterable[Case], max_turns: int, draw: int = 0) -> None:
        self.spec = f"cheat:{name}"
        self._play = CHEATS[name]
        self._answers = [text for text, _ in Counter(c.answer for c in cases).most_common()]
        self._max_turns = max_turns
        self._draw = draw

    def for_case(self, case: Case) -> Policy:
        """The player of one case."""
        return _Player(self._play, self._seat(case), self._max_turns)

    def _seat(self, case: Case) -> Seat:
        chance = seed_of("cheat", case.id) + self._draw
        if not case.options:
            drawn = self._answers[chance % len(self._answers)]
            return Seat(0, False, (), drawn, self._answers[0], tuple(self._answers[:9]))
        letters = LETTERS[: len(case.options)]
        often = min(case.options, key=lambda text: (text not in self._answers, self._place(text)))
        named = tuple(f"{a}. {text}" for a, text in zip(letters, case.options, strict=True))
        best = letters[case.options.index(often)]
        return Seat(0, False, (), letters[chance % len(letters)], best, named)

    def _place(self, text: str) -> int:
        return self._answers.index(text) if text in self._answers else len(self._answers)

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """A cheat plays by case."""
        raise UserError("a cheat needs the case; fix: play it through a rollout")


class _Player(Policy):
    def __init__(self, play: Callable[[Seat], str], seat: Seat, max_turns: int) -> None:
        self._play, self._seat, self._max_turns = play, seat, max_turns

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        turn = sum(message.role == "assistant" for message in conversation)
        lines = conversation[0].text.splitlines()
        tools = tuple(json.loads(line) for line in lines if line.startswith('{"name"'))
        last = turn + 1 >= self._max_turns
        return Reply(self._play(replace(self._seat, turn=turn, last=last, tools=tools)))


class HonestOracle(WrappedPolicy):
    """`scripted:oracle`, which thinks before it acts."""

    spec = "oracle"

    def __init__(self) -> None:
        super().__init__(load_policy("scripted:oracle"))

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The oracle's reply, with a thought before it."""
        said = (await self.policy.act(conversation, sampling)).text
        turn = sum(message.role == "assistant" for message in conversation)
        return Reply(_think(f"Look {turn + 1}." if "<tool_call>" in said else ANSWER, said))
