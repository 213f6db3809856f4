"""What the base of `tiny-volume` imitates and sees: looks through a volume in two steps.

A dialogue begins with a scout, a slab of a whole volume. The looker calls `slice`, mostly at the
right index, then `zoom`, mostly in the right place, and answers; or it guesses, with and without
tools.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medgym.cases import LETTERS, Case
from medgym.episode import Rules
from medgym.messages import Calls, Message, Reply, parse_action, render_call
from medgym.policy import Policy, Sampling, WrappedPolicy, load_policy
from medgym.rollout import collect
from medgym.tool import load_tools

from .dialogues import Dialogues
from .tokenizer import answer_pieces

LOOKER = "scripted:demonstrator,good=0.7,random=0.15,steps=7"
WANDERER = "scripted:demonstrator,good=0,random=1,steps=7"
MAX_TURNS = 3


def looking(
    cases: Sequence[Case], view_size: int, direct: float, refused: float
) -> list[Dialogues]:
    """Dialogues of one policy, as those of `tiny`, with `slice` and `zoom`.

    Args:
        cases: all are used with the tools. view_size: of the views.
        direct: share of further dialogues in which there is no tool and it guesses at once.
        refused: share of those in which it calls a tool that is not there, then guesses.
    """
    armed, bare = _rules(view_size, "slice", "zoom"), _rules(view_size)
    first, second = (round(share * len(cases)) for share in (direct, refused))
    looker = load_policy(LOOKER)
    return [
        Dialogues(cases, looker, armed),
        Dialogues(cases[:first], looker, bare),
        Dialogues(cases[first : first + second], Scroller(), bare),
    ]


def _rules(view_size: int, *tools: str) -> Rules:
    return Rules(tools=load_tools(tools), max_turns=MAX_TURNS, view_size=view_size)


class Scroller(WrappedPolicy):
    """Calls `slice` whether there is one or not, then guesses."""

    spec = "a stubborn scroller"

    def __init__(self) -> None:
        super().__init__(load_policy("scripted:prior"))

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The call, or the guess."""
        if any(each.role == "assistant" for each in conversation):
            return await self.policy.act(conversation, sampling)
        return Reply(slice_call(0))


def slice_call(index: int) -> str:
    """A look at an image of the first study's axial plane."""
    return render_call("slice", {"view": 0, "plane": "axial", "index": index})


def slice_pieces(indices: Iterable[int]) -> tuple[str, ...]:
    """The pieces of `slice_call`: up to the number, and a number with the end of the call.

    So such a call has two tokens, and an index is none of the numbers of a box.
    """
    head, tail = slice_call(0).split("0}}")
    return (head, *(f"{index}}}}}{tail}" for index in sorted(set(indices))))


def zoom_pieces(views: Iterable[int], values: Iterable[int]) -> tuple[str, ...]:
    """The pieces of `zoom` calls on some views whose boxes are made of `values` (thousandths)."""
    halves = [render_call("zoom", {"view": view, "box": [0]}).split("0]") for view in views]
    numbers = sorted(set(values))
    ends = dict.fromkeys(f"]{tail}" for _, tail in halves)
    heads = (head for head, _ in halves)
    return (*heads, *ends, *(f"{number}, " for number in numbers), *map(str, numbers))


def heard(lessons: Sequence[Dialogues]) -> tuple[list[str], list[str]]:
    """The strings that dialogues are made of, found by playing some; and the views' hashes."""
    wanderer = load_policy(WANDERER)
    texts: dict[str, None] = {}
    indices: set[int] = set()
    values: set[int] = set()
    pictures: list[str] = []

    def listen(messages: Sequence[Message]) -> None:
        for each in messages:
            pictures.extend(part.sha256 for part in each.images)
            if each.role != "assistant":
                texts[each.text] = None
            for arguments in calls_of(each.text) if each.role == "assistant" else ():
                values.update(arguments.get("box", ()))
                indices.update([arguments["index"]] if "index" in arguments else ())

    for number, each in enumerate(lessons):
        policy: Policy = each.policy if isinstance(each.policy, Scroller) else wanderer
        some = each.cases[: 6 if number else 128]
        for _ in collect(some, policy, each.rules, on_messages=listen, concurrency=1):
            pass
    letters = LETTERS[: max(len(case.options) for each in lessons for case in each.cases[:6])]
    made = (*slice_pieces(indices), *zoom_pieces((0, 1), values), *answer_pieces(letters))
    return [*texts, *made], pictures


def calls_of(text: str) -> list[Mapping[str, Any]]:
    """The arguments of the calls in a reply."""
    action = parse_action(text)
    return [call.arguments for call in action.calls] if isinstance(action, Calls) else []
