"""Policies without a model: the oracle, random ones, the prior, demonstrators of mixed quality.

`scripted:oracle` proves that every case can be solved: it looks at the gold region, then answers.
`scripted:random` takes any action that a policy can take, well formed or not.
`scripted:prior` answers without looking, each option equally often.
`scripted:demonstrator,good=0.2,random=0.4` looks at the gold region with probability `good`, at a
random place with probability `random`, and otherwise does not look. After a look that shows the
whole gold region it answers right. Otherwise it guesses, or with probability `trusting` repeats one
of the opinions in the question.
`scripted:informed,right=0.6` answers at once: with probability `right` the gold, else at random.
`scripted:chooser,good=0.2,random=0.4` chooses among `zoom`, `measure` and `retrieve`: with
probability `good` it makes a good call of the tool that the case needs, with probability `random`
a random call of any of them; see `chooser`.
`scripted:specialist` and `scripted:vote`: see `specialists`.

In a volume, the oracle and the demonstrator look by `slice` and `zoom`: see `volumes`.

Only the oracle, the demonstrator, the chooser, the informed and the specialist see the case's gold.
"""

import json
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from medgym.cases import Case
from medgym.consultation.opinions import letter_of, read_opinions
from medgym.errors import UserError, unknown
from medgym.imaging.study import Box
from medgym.messages import Calls, Message, Reply, parse_action, render_answer, render_call
from medgym.policy import Policy, Sampling
from medgym.sources.phantom.tool_questions import needed_tool
from medgym.spec import kinds_of, read_options

from . import volumes
from .chooser import GRID, ToolChooser
from .conversation import gold_of, guess, scale_of, size_of, zoom_call
from .conversation import letters as letters
from .specialists import Specialist, Vote
from .volumes import VolumeLooker
from .windows import Lattice


class Scripted(Policy):
    """The scheme `scripted:`, which makes one of the classes below."""

    @classmethod
    def from_spec(cls, rest: str, adapter: str | None) -> Policy:
        """`NAME`, `NAME,key=value,...` or `NAME?key=value&...`: what its class takes, by name."""
        if adapter is not None:
            raise UserError(f"scripted:{rest} takes no adapter; fix: omit {adapter!r}")
        separator = "&" if "?" in rest else ","
        name, _, options = rest.partition("?" if "?" in rest else ",")
        kinds: dict[str, Callable[..., Policy]] = {
            "oracle": Oracle,
            "random": Random,
            "prior": Prior,
            "demonstrator": Demonstrator,
            "chooser": Chooser,
            "informed": Informed,
            "specialist": Specialist,
            "vote": Vote,
        }
        if name not in kinds:
            raise unknown("scripted policy", name, kinds)
        make = kinds[name]
        return make(**read_options(f"scripted:{name}", options, kinds_of(make), separator))

    @abstractmethod
    def reply(self, conversation: Sequence[Message], rng: np.random.Generator) -> str:
        """The text of the next reply."""

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The next reply. Its randomness comes only from the seed of the sampling."""
        return Reply(self.reply(conversation, np.random.default_rng(sampling.seed)))


class Prior(Scripted):
    """Answers at once, without looking."""

    spec = "scripted:prior"

    def reply(self, conversation: Sequence[Message], rng: np.random.Generator) -> str:
        """A random answer."""
        return render_answer(guess(conversation, rng))


class Random(Scripted):
    """Any action of a policy: calls with random arguments, answers, malformed replies."""

    spec = "scripted:random"

    def reply(self, conversation: Sequence[Message], rng: np.random.Generator) -> str:
        """A random action."""
        schemas = [
            json.loads(line)
            for line in conversation[0].text.splitlines()
            if line.startswith('{"name"')
        ]
        draw = rng.random()
        if draw < 0.05:
            return str(rng.choice(["", "I think it is A.", "<tool_call>{</tool_call>", "<answer>"]))
        if draw < 0.45 or not schemas:
            return render_answer(guess(conversation, rng))
        schema = schemas[int(rng.integers(len(schemas)))]
        views = sum(len(message.images) for message in conversation)
        arguments = {
            name: _argument(name, field, views, rng)
            for name, field in schema["parameters"]["properties"].items()
            if name in schema["parameters"].get("required", ()) or rng.random() < 0.3
        }
        return render_call(schema["name"], arguments)


def _argument(name: str, field: dict[str, Any], views: int, rng: np.random.Generator) -> object:
    for choice in field.get("anyOf", ()):
        if choice.get("type") != "null":
            return _argument(name, choice, views, rng)
    if "enum" in field:
        return field["enum"][int(rng.integers(len(field["enum"])))]
    if field.get("type") == "integer":
        low = int(field.get("minimum", 0))
        high = views - 1 if name == "view" else int(field.get("maximum", low + 5))
        return int(rng.integers(low, max(high, low) + 1))
    if field.get("type") == "number":
        return float(np.round(rng.uniform(0, 1000), 1))
    if field.get("type") == "array":
        values = rng.integers(0, 1001, int(field.get("minItems", 4)))
        return sorted(values.tolist()) if len(values) != 4 else _ordered(values.tolist())
    if field.get("type") == "boolean":
        return bool(rng.random() < 0.5)
    return str(rng.choice(["lesion", "texture", "finding"]))


def _ordered(values: list[int]) -> list[int]:
    (x0, x1), (y0, y1) = sorted(values[::2]), sorted(values[1::2])
    return [x0, y0, x1, y1]


class Oracle(Scripted):
    """Looks once at every gold region, in as many turns as needed, then gives the gold answer."""

    spec = "scripted:oracle"
    needs_gold = True

    def for_case(self, case: Case) -> Policy:
        """The oracle of one case."""
        if needed_tool(case) in ("measure", "retrieve"):
            return ToolChooser(case, Lattice(), all_knowing=True)
        looker = _volume_looker(case, Lattice(), all_knowing=True)
        return looker or _CaseOracle(case, Lattice())

    def reply(self, conversation: Sequence[Message], rng: np.random.Generator) -> str:
        """Refused: the oracle needs the case, which `for_case` gives it."""
        raise UserError("the oracle needs the case; fix: play it through a rollout")


class Demonstrator(Oracle):
    """Shows a mixture of good looks, looks at random places, and guesses.

    Args:
        good: probability of a look at the gold region.
        random: probability of a look at a random window. Other episodes guess without a look.
        trusting: probability that a guess repeats an opinion, where there are any.
        window, steps: the lattice of the windows at which it looks.
    """

    spec = "scripted:demonstrator"

    def __init__(
        self,
        good: float = 1.0,
        random: float = 0.0,
        window: int = 250,
        steps: int = 8,
        trusting: float = 0.0,
    ) -> None:
        _check_shares(good, random)
        self._shares = (good, random, trusting)
        self._lattice = Lattice(window, steps)
        self.spec = f"scripted:demonstrator,good={good:g},random={random:g}"

    def for_case(self, case: Case) -> Policy:
        """The demonstrator of one case."""
        good, random, _ = self._shares
        looker = _volume_looker(case, self._lattice, good=good, random=random)
        return looker or _CaseDemonstrator(case, self._lattice, *self._shares)


def _check_shares(good: float, random: float) -> None:
    if not (good >= 0 and random >= 0 and good + random <= 1):
        raise UserError(
            f"good={good} and random={random} are not probabilities of one choice; fix: write "
            "two numbers from 0, with a sum of at most 1"
        )


class Chooser(Oracle):
    """Shows good calls of the tool that a case needs, random calls of any tool, and guesses.

    Args:
        good, random: probabilities of such a call. Other episodes guess without one.
        window, steps: the lattice of the windows of `zoom`.
        grid: steps along each side of a view on which the points of `measure` lie.
    """

    spec = "scripted:chooser"

    def __init__(
        self,
        good: float = 1.0,
        random: float = 0.0,
        window: int = 250,
        steps: int = 7,
        grid: int = GRID,
    ) -> None:
        _check_shares(good, random)
        if not 2 <= grid <= 1000:
            raise UserError(f"grid={grid} makes no grid; fix: write 2 to 1000")
        self._shares, self._grid = (good, random), grid
        self._lattice = Lattice(window, steps)
        self.spec = f"scripted:chooser,good={good:g},random={random:g}"

    def for_case(self, case: Case) -> Policy:
        """The chooser of one case."""
        good, random = self._shares
        return ToolChooser(case, self._lattice, grid=self._grid, good=good, random=random)


class Informed(Oracle):
    """Answers at once, with probability `right` by the gold, else at random."""

    spec = "scripted:informed"

    def __init__(self, right: float = 1.0) -> None:
        if not 0 <= right <= 1:
            raise UserError(
                f"scripted:informed: right={right} is not a probability; fix: write 0 to 1"
            )
        self._right = right

    def for_case(self, case: Case) -> Policy:
        """The informed policy of one case."""
        return _CaseInformed(case, self._right)


class _CaseOracle(Scripted):
    def __init__(self, case: Case, lattice: Lattice) -> None:
        self._case = case
        self._lattice = lattice

    def _gold(self) -> str:
        return render_answer(gold_of(self._case))

    def _look(self, box_px: Box, conversation: Sequence[Message], image: int) -> str:
        width, height = size_of(conversation, image)
        x0, y0, x1, y1 = box_px
        box = [x0 * 1000 / width, y0 * 1000 / height, x1 * 1000 / width, y1 * 1000 / height]
        return zoom_call(conversation, image, self._lattice.around(box))

    def reply(self, conversation: Sequence[Message], rng: np.random.Generator) -> str:
        can_zoom = '{"name": "zoom"' in conversation[0].text
        looked = sum(message.role == "assistant" for message in conversation)
        regions = self._case.regions
        if can_zoom and looked < len(regions):
            return self._look(regions[looked].box_px, conversation, regions[looked].image)
        return self._gold()


def _volume_looker(
    case: Case,
    lattice: Lattice,
    *,
    good: float = 1.0,
    random: float = 0.0,
    all_knowing: bool = False,
) -> VolumeLooker | None:
    """The looker of a case whose region its first views do not show, else None."""
    site = volumes.site_of(case)
    if site is None:
        return None
    return VolumeLooker(
        site, gold_of(case), guess, lattice, good=good, random=random, all_knowing=all_knowing
    )


class _CaseInformed(_CaseOracle):
    def __init__(self, case: Case, right: float) -> None:
        super().__init__(case, Lattice())
        self._right = right

    def reply(self, conversation: Sequence[Message], rng: np.random.Generator) -> str:
        if rng.random() < self._right:
            return self._gold()
        return render_answer(guess(conversation, rng))


class _CaseDemonstrator(_CaseOracle):
    def __init__(
        self, case: Case, lattice: Lattice, good: float, random: float, trusting: float
    ) -> None:
        super().__init__(case, lattice)
        self._good, self._random, self._trusting = good, random, trusting

    def reply(self, conversation: Sequence[Message], rng: np.random.Generator) -> str:
        made = [message for message in conversation if message.role == "assistant"]
        regions = [r for r in self._case.regions if r.image == 0]
        if not made and '{"name": "zoom"' in conversation[0].text:
            draw = rng.random()
            if draw < self._good and regions:
                return self._look(regions[0].box_px, conversation, 0)
            if draw < self._good + self._random:
                return zoom_call(conversation, 0, self._lattice.random(rng))
        if made and regions and self._shown(made[-1], regions[0].box_px, conversation):
            return self._gold()
        opinions = read_opinions(conversation[1].text) if self._trusting else []
        if opinions and rng.random() < self._trusting:
            said = opinions[int(rng.integers(len(opinions)))][1]
            return render_answer(letter_of(said, self._case.options) or said)
        return render_answer(guess(conversation, rng))

    def _shown(self, made: Message, box_px: Box, conversation: Sequence[Message]) -> bool:
        """Whether the box of the last call contains the whole gold region."""
        # Read as the environment reads it: the template may have put an empty thought before it.
        good, look = (parse_action(t) for t in (self._look(box_px, conversation, 0), made.text))
        if not isinstance(look, Calls) or not isinstance(good, Calls):
            return False
        size, scale = size_of(conversation, 0), scale_of(conversation, 0)
        box = look.calls[0].arguments["box"]
        seen = [v * size[i % 2] / scale[i % 2] for i, v in enumerate(box)]
        inside = (
            seen[0] <= box_px[0] + 0.5
            and seen[1] <= box_px[1] + 0.5
            and box_px[2] - 0.5 <= seen[2]
            and box_px[3] - 0.5 <= seen[3]
        )
        return inside or look.calls == good.calls
