"""What a scripted policy does that has several tools, of which a case needs one: it chooses.

It knows which tool a phantom needs, and what the tools say: the pattern in a close view, a length
in millimetres, the stage that a rule gives.
"""

import re
from collections.abc import Sequence

import numpy as np

from medgym.cases import LETTERS, Case
from medgym.imaging.study import Box
from medgym.messages import Calls, Message, Reply, parse_action, render_answer, render_call
from medgym.policy import Policy, Sampling
from medgym.sources.phantom.rules import rules_of
from medgym.sources.phantom.tool_questions import needed_tool

from .conversation import gold_of, guess, scale_of, size_of, zoom_call
from .windows import Lattice

TOOLS = ("zoom", "measure", "retrieve")
"""The tools among which it chooses."""

GRID = 32
"""Blocks of a phantom along a side: lesions begin and end on them."""

LONGEST = 8
"""Steps of the grid along which it measures at most where it measures anywhere."""

_LENGTH = re.compile(r"Length ([0-9.]+) mm")
_NUMBER = re.compile(r"[0-9.]+")


def rule_named(question: str) -> str:
    """The rule that a question of the stage names."""
    return question.rpartition("by the rule ")[2].rstrip("?")


class ToolChooser(Policy):
    """Makes one call, good or random, or none; then answers by what it was told, or guesses.

    A good call is of the tool that the case needs: a window around the lesion, its two ends, the
    rule in the question. A random one is of any tool that is offered: any window, any two points,
    any rule.

    Args:
        case: a phantom. lattice: the windows of `zoom`.
        grid: steps along each side of the view on which points lie.
        good, random: probabilities of such a call; otherwise it guesses without one.
        all_knowing: whether it knows the answer, whatever it was told.
    """

    spec = "scripted:chooser"

    def __init__(
        self,
        case: Case,
        lattice: Lattice,
        *,
        grid: int = GRID,
        good: float = 1.0,
        random: float = 0.0,
        all_knowing: bool = False,
    ) -> None:
        self._case, self._lattice, self._grid = case, lattice, grid
        self._good, self._random = good, random
        self._needed = needed_tool(case)
        self._all_knowing = all_knowing

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The next reply. Its randomness comes only from the seed of the sampling."""
        return Reply(self._reply(conversation, np.random.default_rng(sampling.seed)))

    def _reply(self, conversation: Sequence[Message], rng: np.random.Generator) -> str:
        made = [message for message in conversation if message.role == "assistant"]
        if made:
            known = self._all_knowing
            told = gold_of(self._case) if known else self._told(made[-1], conversation)
            return render_answer(told or guess(conversation, rng))
        offered = [name for name in TOOLS if f'{{"name": "{name}"' in conversation[0].text]
        draw = rng.random()
        if draw < self._good:
            if self._needed in offered:
                return self._call(str(self._needed), conversation, None)
        elif draw < self._good + self._random and offered:
            name = offered[int(rng.integers(len(offered)))]
            return self._call(name, conversation, rng)
        return render_answer(gold_of(self._case) if self._all_knowing else guess(conversation, rng))

    def _call(
        self, name: str, conversation: Sequence[Message], rng: np.random.Generator | None
    ) -> str:
        """A call of a tool: a good one, or with random numbers a random one."""
        if name == "zoom":
            box = self._lattice.random(rng) if rng else self._window(conversation)
            return zoom_call(conversation, 0, box)
        if name == "measure":
            points = self._anywhere(rng) if rng else self._ends(conversation)
            scale = scale_of(conversation, 0)
            if scale != (1000.0, 1000.0):
                points = [[v * s / 1000 for v, s in zip(p, scale, strict=True)] for p in points]
            return render_call("measure", {"view": 0, "kind": "length", "points": points})
        rules = rules_of(self._case.split)
        rule = rules[int(rng.integers(len(rules)))].name if rng else rule_named(self._case.question)
        return render_call("retrieve", {"query": f"rule {rule}", "k": 1})

    def _told(self, made: Message, conversation: Sequence[Message]) -> str | None:
        """The answer that the last result tells, if it tells one."""
        action = parse_action(made.text)
        if not isinstance(action, Calls) or action.calls[0].name != self._needed:
            return None
        if self._needed == "zoom":
            return gold_of(self._case) if self._is_shown(action, conversation) else None
        options, said = self._case.options, conversation[-1].text
        if self._needed == "retrieve":
            stages = [n for n, stage in enumerate(options) if f"{stage}." in said]
            return LETTERS[stages[0]] if stages else None
        length = _LENGTH.search(said)
        ends = sorted({float(end) for option in options for end in _NUMBER.findall(option)})
        return LETTERS[sum(float(length[1]) > end for end in ends)] if length else None

    def _region(self, conversation: Sequence[Message]) -> Box:
        """The lesion in thousandths of the first view."""
        (width, height), (x0, y0, x1, y1) = size_of(conversation, 0), self._case.regions[0].box_px
        return x0 * 1000 / width, y0 * 1000 / height, x1 * 1000 / width, y1 * 1000 / height

    def _window(self, conversation: Sequence[Message]) -> list[int]:
        return self._lattice.around(self._region(conversation))

    def _is_shown(self, action: Calls, conversation: Sequence[Message]) -> bool:
        """Whether the window of a call holds the whole lesion."""
        scale, region = scale_of(conversation, 0), self._region(conversation)
        box = action.calls[0].arguments["box"]
        x0, y0, x1, y1 = (v * 1000 / scale[n % 2] for n, v in enumerate(box))
        inside = x0 <= region[0] + 1 and y0 <= region[1] + 1
        return bool(inside and region[2] - 1 <= x1 and region[3] - 1 <= y1)

    def _ends(self, conversation: Sequence[Message]) -> list[list[float]]:
        """The ends of the lesion's longest side, halfway along the other."""
        x0, y0, x1, y1 = self._region(conversation)
        if x1 - x0 >= y1 - y0:
            y = self._on_grid((y0 + y1) / 2 * self._grid / 1000 - 0.25)
            return [[self._near(x0), y], [self._near(x1), y]]
        x = self._on_grid((x0 + x1) / 2 * self._grid / 1000 - 0.25)
        return [[x, self._near(y0)], [x, self._near(y1)]]

    def _anywhere(self, rng: np.random.Generator) -> list[list[float]]:
        """Two points at some distance beside or below each other."""
        steps = int(rng.integers(1, LONGEST + 1))
        along, across = int(rng.integers(self._grid - steps + 1)), int(rng.integers(self._grid + 1))
        first, last = self._on_grid(along), self._on_grid(along + steps)
        other = self._on_grid(across)
        if rng.random() < 0.5:
            return [[first, other], [last, other]]
        return [[other, first], [other, last]]

    def _near(self, thousandth: float) -> int:
        return self._on_grid(thousandth * self._grid / 1000)

    def _on_grid(self, step: float) -> int:
        return round(round(step) * 1000 / self._grid)
