"""Whether a policy sees: does what it writes depend on the pixels that it was shown?

Recorded episodes are forced through the model three times: with their own images, with grey ones,
and with those of another case. What changes is the log-probability of the very tokens that were
written. Where nothing changes the images do not reach the answers, however well the reward looks.

For tokens that the policy itself sampled, the mean change is never negative in expectation: it is
the Kullback-Leibler divergence between what it says with its images and what it would say with the
others. Whether it sees *well* is another matter: see `medgym doctor`, where the answers are gold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from medgym.cases import Case
from medgym.errors import RunError
from medgym.messages import Calls, parse_action
from medgym.trajectory import Trajectory

from .forcing import KINDS, Given, Kind, forced, givens, in_mode
from .grpo.batch import LostImages

STILL = 1e-6
"""Nats. What a model that does not see may differ by; it differs by nothing where the arithmetic is
the same, as it is here, and some kernels on a GPU add up in any order."""

GREY = (128, 128, 128)
"""The colour of a blanked image."""

CONCLUSIONS: tuple[Kind, ...] = ("think", "answer")
"""Where an episode says what it saw. An answer behind a thought that names the finding hardly
depends on the image any more, but the thought does."""

_MOST = 20.0
"""Nats. Beyond it a ratio of probabilities is only large, and its exponential breaks the mean."""


class Blind(RunError):
    """The model does not see: what it writes does not depend on its images."""


@dataclass(frozen=True)
class Change:
    """By how much one trajectory's log-probabilities fall without its own images, in nats.

    Attributes:
        blanked, exchanged: for each kind of token, the sum over its tokens of log p with the own
            images minus log p with grey ones, with another case's. Without a partner to exchange
            with, `exchanged` is empty.
        largest: the greatest absolute change of any single token.
        group: the case's patient: what is independent of what.
    """

    blanked: Mapping[Kind, float]
    exchanged: Mapping[Kind, float]
    largest: float
    group: str = ""

    def of(self, kinds: Sequence[Kind]) -> float | None:
        """The greater of both absolute changes, over some kinds; None where none were written."""
        sums = [
            abs(sum(change[kind] for kind in kinds if kind in change))
            for change in (self.blanked, self.exchanged)
            if any(kind in change for kind in kinds)
        ]
        return max(sums, default=None)


@dataclass(frozen=True)
class Sight:
    """What becomes of the log-probabilities of recorded tokens without their images.

    Attributes:
        changes: of every trajectory that showed an image.
    """

    changes: tuple[Change, ...]

    @property
    def blanked(self) -> tuple[float, ...]:
        """For each trajectory that answered: log p(answer) minus that with grey images, in nats."""
        return tuple(c.blanked["answer"] for c in self.changes if "answer" in c.blanked)

    @property
    def exchanged(self) -> tuple[float, ...]:
        """For each trajectory that answered: the same with another case's images."""
        return tuple(c.exchanged["answer"] for c in self.changes if "answer" in c.exchanged)

    @property
    def still(self) -> bool:
        """Whether not a single token of any trajectory moved; False where there is nothing."""
        return bool(self.changes) and all(c.largest <= STILL for c in self.changes)

    @property
    def moved(self) -> float | None:
        """The mean change of what was concluded (`CONCLUSIONS`), the greater of both, in nats.

        None where no trajectory concluded anything.
        """
        return _mean([change.of(CONCLUSIONS) for change in self.changes])

    def figures(self) -> dict[str, float]:
        """What training logs: signed means of the answers', absolute ones of each kind."""
        named = {
            "sight/blanked": _mean(self.blanked),
            "sight/exchanged": _mean(self.exchanged),
            "sight/moved": self.moved,
            **{f"sight/{kind}": _mean([c.of([kind]) for c in self.changes]) for kind in KINDS},
        }
        return {name: value for name, value in named.items() if value is not None}


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def sight(
    model: Any,
    processor: Any,
    played: Sequence[tuple[Case, Trajectory]],
    pictures: Mapping[str, Image.Image],
) -> Sight:
    """Force recorded episodes through the model with true, grey and exchanged images.

    Costs three forward passes for each trajectory; a handful of them, of different cases, will do.
    The model is in eval mode meanwhile, and afterwards as it was.

    Args:
        played: cases with their trajectories; failed ones, and those without tokens, say nothing.
            Of a consultation give the parts.
        pictures: the images that they show, by content hash.

    Raises:
        LostImages: an image that a trajectory shows is not among the pictures.
    """
    rows = [row for row in givens(processor, played, pictures) if row.images]
    with in_mode(model, training=False):
        own = forced(model, processor, rows)
        grey = forced(model, processor, rows, [_blank(row) for row in rows])
        pairs = [(row, partner(row, rows)) for row in rows]
        with_partner = [i for i, (_, other) in enumerate(pairs) if other is not None]
        others = [_in_place(row, other) for row, other in pairs if other is not None]
        exchanged = forced(model, processor, [rows[i] for i in with_partner], others)
    strange = dict(zip(with_partner, exchanged, strict=True))
    return Sight(tuple(_change(row, own[i], grey[i], strange.get(i)) for i, row in enumerate(rows)))


def _change(
    row: Given, own: Sequence[float], grey: Sequence[float], strange: Sequence[float] | None
) -> Change:
    def sums(other: Sequence[float]) -> dict[Kind, float]:
        total: dict[Kind, float] = {}
        for kind, with_own, without in zip(row.kinds, own, other, strict=True):
            total[kind] = total.get(kind, 0.0) + with_own - without
        return total

    seen = [grey] if strange is None else [grey, strange]
    largest = max(abs(a - b) for other in seen for a, b in zip(own, other, strict=True))
    exchanged = {} if strange is None else sums(strange)
    return Change(sums(grey), exchanged, largest, row.case.group)


def partner(row: Given, rows: Sequence[Given]) -> Given | None:
    """Whose images a row is shown in the exchange: the next row of another patient, and if there
    is one of those that was to be answered otherwise."""
    start = next(i for i, each in enumerate(rows) if each is row)
    following = [*rows[start + 1 :], *rows[:start]]
    others = [each for each in following if each.case.group != row.case.group]
    different = [each for each in others if each.case.answer != row.case.answer]
    return next(iter(different or others), None)


def _blank(row: Given) -> list[Image.Image]:
    return [Image.new("RGB", image.size, GREY) for image in row.images]


def _in_place(row: Given, other: Given) -> list[Image.Image]:
    """The other's images at the sizes of the row's own, so that every feature has its token."""
    count = len(other.images)
    return [
        other.images[place % count].convert("RGB").resize(image.size)
        for place, image in enumerate(row.images)
    ]


class Watch:
    """Stops a run that goes blind.

    Args:
        floor: nats by which conclusions must change without their images, on average.
        patience: looks in a row that may fall below it.
    """

    def __init__(self, floor: float, patience: int) -> None:
        self._floor = floor
        self._patience = patience
        self._below = 0

    def see(self, seen: Sight) -> None:
        """Take another look.

        Raises:
            Blind: not a single token moved, or conclusions stayed below the floor too often.
        """
        if seen.still:
            raise Blind(
                "the model is blind: not one token that it wrote depends on its images; fix: run "
                "medgym doctor on the model and see that image features reach its language model"
            )
        if seen.moved is None:
            return
        self._below = self._below + 1 if seen.moved < self._floor else 0
        if self._below >= self._patience:
            raise Blind(
                f"the model went blind: {self._below} times in a row its answers changed by less "
                f"than {self._floor:g} nats ({seen.moved:.2g} the last time) with other images or "
                "none; fix: go back to an earlier adapter, reward looking, or lower [sight] floor"
            )


@dataclass(frozen=True)
class Agreement:
    """How far the log-probabilities of sampler and trainer are apart, on tokens that were sampled.

    Attributes:
        ratios: for each kind of token, log p(trainer) - log p(sampler) of every such token.
    """

    ratios: Mapping[Kind, tuple[float, ...]] = field(default_factory=dict)

    def _ratios(self, kind: Kind | None) -> Any:
        every = self.ratios.values() if kind is None else [self.ratios.get(kind, ())]
        return np.array([value for values in every for value in values])

    def kl(self, kind: Kind | None = None) -> float:
        """Mean of exp(r) - 1 - r in nats a token: Schulman's estimator k3 of KL(sampler, trainer),
        never negative (http://joschu.net/blog/kl-approx.html). 0 where there are no tokens."""
        ratio = np.clip(self._ratios(kind), -_MOST, _MOST)
        return float((np.expm1(ratio) - ratio).mean()) if ratio.size else 0.0

    def max_abs(self, kind: Kind | None = None) -> float:
        """The greatest |r| in nats."""
        return float(np.abs(self._ratios(kind)).max(initial=0.0))

    def figures(self) -> dict[str, float]:
        """What training logs."""
        if not self.ratios:
            return {}
        return {
            "sampler/kl": self.kl(),
            "sampler/max_abs": self.max_abs(),
            **{f"sampler/kl/{kind}": self.kl(kind) for kind in KINDS if kind in self.ratios},
        }


def agreement(
    model: Any,
    processor: Any,
    played: Sequence[tuple[Case, Trajectory]],
    pictures: Mapping[str, Image.Image],
    *,
    temperature: float = 1.0,
) -> Agreement:
    """Hold the sampler's recorded log-probabilities against the trainer's of the same tokens.

    The trainer's come from one pass over the whole in train mode, as where the loss is computed:
    dropout that the sampler does not have shows here. Tokens that cannot be sampled are left out of
    the distribution, as the sampler leaves them out.

    Args:
        played, pictures: as `sight`'s; demonstrations were not sampled and say nothing.
        temperature: at which they were sampled, above 0.
    """
    rows = givens(processor, played, pictures)
    banned = next((t.vision_token_ids for _, t in played if t.kind == "sampled"), ())
    return agreement_on(model, processor, rows, banned=banned, temperature=temperature)


def agreement_on(
    model: Any,
    processor: Any,
    rows: Sequence[Given],
    *,
    banned: Sequence[int],
    temperature: float = 1.0,
) -> Agreement:
    """`agreement` on rows that are prepared already; `banned` are the tokens never sampled."""
    rows = [row for row in rows if row.logprobs]
    with in_mode(model, training=True):
        trainers = forced(model, processor, rows, temperature=temperature, banned=banned)
    ratios: dict[Kind, list[float]] = {}
    for row, values in zip(rows, trainers, strict=True):
        for kind, ours, theirs in zip(row.kinds, values, row.logprobs, strict=True):
            ratios.setdefault(kind, []).append(ours - theirs)
    return Agreement({kind: tuple(values) for kind, values in ratios.items()})


def hold_images(played: Sequence[tuple[Case, Trajectory]]) -> None:
    """Insist that every view that a tool made was shown, and became tokens where it was read.

    Raises:
        LostImages: with the case, and what was made and shown.
    """
    for case, trajectory in played:
        if trajectory.failure is not None or trajectory.branches:
            continue
        made = len(case.images) + len(trajectory.looks)
        shown = [use.view for node in trajectory.nodes for use in node.images]
        # Where the budget ended the episode, the views of its last calls are shown to nobody.
        called = isinstance(parse_action(trajectory.nodes[-1].text), Calls)
        unread = trajectory.truncated and called and shown == list(range(len(shown)))
        if len(shown) != made and not unread:
            raise LostImages(
                f"in {case.id} {made} views were made and {len(shown)} images shown; fix: see "
                "that the environment's messages carry the views of its tools"
            )
        if trajectory.kind == "text":
            continue
        for node in trajectory.nodes:
            if node.token_ids and any(use.tokens == 0 for use in node.images):
                raise LostImages(
                    f"in {case.id} an image became no tokens; fix: see that the chat template "
                    "writes images where tools show them"
                )
