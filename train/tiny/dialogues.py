"""What the tiny bases imitate: dialogues of scripted policies, and the strings these are made of.

`looking` is for the base of `tiny`: it looks, mostly in the right place, or guesses, with and
without tools. `consulting` is for that of `consult-tiny`: triage, the attending that reads
opinions, and a single policy. `spoiling` ends the latter: the same roles with hardly any good
habits left, so that the model can do everything and does not know what it should do.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from medgym.cases import LETTERS, Case
from medgym.consultation.opinions import (
    SPECIALTIES,
    Opinion,
    advised_case,
    opinion_of,
    shuffled,
    triage_case,
)
from medgym.consultation.role import ATTENDING, TRIAGE, load_role
from medgym.episode import Rules
from medgym.messages import Calls, Final, Message, Reply, parse_action, render_call
from medgym.policy import Policy, Sampling, WrappedPolicy, load_policy
from medgym.rollout import collect
from medgym.seeds import seed_of
from medgym.tool import load_tools

from .tokenizer import answer_pieces, call_pieces

LOOKER = "scripted:demonstrator,good=0.7,random=0.15,steps=7"
SPECIALIST = "scripted:specialist,specialty={specialty},accuracy=0.7,alike=0.25,slip=0.05"
OPINIONS = 3
"""Opinions that an attending of the dialogues reads."""


@dataclass(frozen=True)
class Dialogues:
    """Cases that a policy plays by some rules."""

    cases: Sequence[Case]
    policy: Policy
    rules: Rules


def looking(
    cases: Sequence[Case], view_size: int, direct: float, refused: float
) -> list[Dialogues]:
    """Dialogues of one policy.

    Args:
        cases: all are used with the tool. view_size: of the views.
        direct: share of further dialogues in which there is no tool and it guesses at once.
        refused: share of those in which it calls a tool that is not there, then guesses.
    """
    with_tool, bare = _rules(view_size, "zoom"), _rules(view_size)
    first, second = (round(share * len(cases)) for share in (direct, refused))
    looker = load_policy(LOOKER)
    return [
        Dialogues(cases, looker, with_tool),
        Dialogues(cases[:first], looker, bare),
        Dialogues(cases[first : first + second], Stubborn(), bare),
    ]


def consulting(cases: Sequence[Case], view_size: int) -> list[Dialogues]:
    """Dialogues of an attending on all of the cases, and on shares of them of the other roles.

    On most cases the attending reads opinions of the case's own specialists, on the others one of
    each specialty, as without triage: so the worth of triage can be measured.
    """
    rules = _rules(view_size, "zoom")
    looker = load_policy(f"{LOOKER},trusting=0.5")
    tenth = len(cases) // 10
    return [
        Dialogues(
            [*advised(cases[: 7 * tenth]), *advised(cases[7 * tenth :], all_specialties=True)],
            looker,
            replace(rules, prompt=_prompt(ATTENDING)),
        ),
        Dialogues(cases[: 3 * tenth], looker, rules),
        Dialogues(
            [triage_case(case, SPECIALTIES) for case in cases[3 * tenth : 6 * tenth]],
            load_policy("scripted:informed,right=0.8"),
            _triage_rules(view_size),
        ),
        Dialogues(
            [advised_case(case, []) for case in cases[6 * tenth : 7 * tenth]],
            looker,
            replace(rules, prompt=_prompt(ATTENDING)),
        ),
    ]


def spoiling(cases: Sequence[Case], view_size: int) -> list[Dialogues]:
    """Dialogues of the same roles that mostly guess or repeat an opinion; triage always guesses."""
    rules = _rules(view_size, "zoom")
    idler = load_policy("scripted:demonstrator,good=0.1,random=0.25,steps=7,trusting=0.6")
    tenth = len(cases) // 10
    return [
        Dialogues(advised(cases[: 6 * tenth]), idler, replace(rules, prompt=_prompt(ATTENDING))),
        Dialogues(cases[6 * tenth : 9 * tenth], idler, rules),
        Dialogues(
            [triage_case(case, SPECIALTIES) for case in cases[9 * tenth :]],
            load_policy("scripted:prior"),
            _triage_rules(view_size),
        ),
    ]


def advised(cases: Sequence[Case], all_specialties: bool = False) -> list[Case]:
    """The cases with opinions of scripted specialists: of their own specialty, or one of each."""

    async def said(case: Case) -> list[Opinion]:
        own = case.specialty or ""
        asked = SPECIALTIES if all_specialties else [own] * OPINIONS
        opinions = []
        for number, specialty in enumerate(asked):
            spec = SPECIALIST.replace("{specialty}", specialty)
            specialist = load_policy(spec).for_case(case)
            sampling = Sampling(seed=seed_of("opinion", case.id, number))
            action = parse_action((await specialist.act((), sampling)).text)
            assert isinstance(action, Final)
            opinions.append(opinion_of(case, specialty, action.answer))
        return shuffled(opinions, seed_of("order", case.id))

    async def all_said() -> list[list[Opinion]]:
        return [await said(case) for case in cases]

    opinions = asyncio.run(all_said())
    return [advised_case(case, each) for case, each in zip(cases, opinions, strict=True)]


def _rules(view_size: int, *tools: str) -> Rules:
    return Rules(tools=load_tools(tools), max_turns=2, view_size=view_size)


def _triage_rules(view_size: int) -> Rules:
    return replace(_rules(view_size), max_turns=1, prompt=_prompt(TRIAGE))


def _prompt(role: str) -> str:
    return load_role(role).prompt


class Stubborn(WrappedPolicy):
    """Calls `zoom` whether there is one or not, then guesses."""

    spec = "a stubborn looker"

    def __init__(self) -> None:
        super().__init__(load_policy("scripted:prior"))

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The call, or the guess."""
        if any(each.role == "assistant" for each in conversation):
            return await self.policy.act(conversation, sampling)
        return Reply(render_call("zoom", {"view": 0, "box": [250, 250, 500, 500]}))


def heard(lessons: Sequence[Dialogues]) -> tuple[list[str], list[str]]:
    """The strings that dialogues are made of, found by playing some; and the views' hashes.

    An opinion is two strings: the specialty, and what it says.
    """
    wanderer = load_policy("scripted:demonstrator,good=0,random=1,steps=7")
    texts: dict[str, None] = {}
    values: set[int] = set()
    pictures: list[str] = []

    def listen(messages: Sequence[Message]) -> None:
        for each in messages:
            pictures.extend(part.sha256 for part in each.images)
            if each.role != "assistant":
                texts.update(dict.fromkeys(_pieces(each.text)))
                continue
            action = parse_action(each.text)
            if isinstance(action, Calls):
                values.update(v for call in action.calls for v in call.arguments["box"])

    for number, each in enumerate(lessons):
        some = each.cases[: 64 if not number else 6]
        policy = each.policy if isinstance(each.policy, Stubborn) else wanderer
        for _ in collect(some, policy, each.rules, on_messages=listen, concurrency=1):
            pass
    asked = [case for each in lessons for case in each.cases[:6]]
    if any("\n- " in case.context for case in asked):
        said = dict.fromkeys(option for case in asked for option in case.options)
        texts |= dict.fromkeys((*(f"- {who}: " for who in SPECIALTIES), *said, "no answer"))
    letters = LETTERS[: max(len(case.options) for case in asked)]
    return [*texts, *call_pieces(values), *answer_pieces(letters)], pictures


def _pieces(text: str) -> list[str]:
    """A message in parts that recur: whole, except the opinions in it."""
    parts = re.split(r"(?<=\n)(- [^:\n]+: )([^\n]+)(?=\n)", text)
    return [
        piece
        for part in parts
        for piece in (("\n", part[1:]) if part.startswith("\n") and len(parts) > 1 else (part,))
        if piece
    ]
