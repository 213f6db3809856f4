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

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medgym.cases import Case
from medgym.local_model import LocalModel
from medgym.metrics.recorded_tokens import KINDS, Kind, RecordedTokens, recorded_tokens
from medgym.trajectory import Trajectory

STILL = 1e-6
"""Nats. What a model that does not see may differ by; it differs by nothing where the arithmetic is
the same, as it is here, and some kernels on a GPU add up in any order."""

GREY = (128, 128, 128)
"""The colour of a blanked image."""

CONCLUSIONS: tuple[Kind, ...] = ("think", "answer")
"""Where an episode says what it saw. After a thought that names the finding, the answer hardly
depends on the image any more, but the thought does."""

NEAR, FAR = 0.01, 0.1
"""Nats a token of KL(sampler, trainer): one forward pass in bfloat16 against another keeps well
below the first; a run whose images were dropped between the two showed 5.24, and 0.001 once fixed
(PrimeIntellect-ai/verifiers, issue 1653). The doctor and training judge by the same ones."""

MOST = 20.0
"""Nats. Beyond it a ratio of probabilities is only large, and its exponential breaks the mean."""


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
    policy: LocalModel,
    played: Sequence[tuple[Case, Trajectory]],
    pictures: Mapping[str, Image.Image],
) -> Sight:
    """Force recorded episodes through the model with true, grey and exchanged images.

    Costs three forward passes for each trajectory; a handful of them, of different cases, is
    enough. The model is in eval mode meanwhile, and afterwards as it was.

    Args:
        policy: whose model is examined.
        played: cases with their trajectories; failed ones, and those without tokens, do not count.
            Of a consultation give the parts.
        pictures: the images that they show, by content hash.

    Raises:
        LostImages: an image that a trajectory shows is not among the pictures.
    """
    tokens = recorded_tokens(policy.processor.tokenizer, played, pictures)
    rows = [row for row in tokens if row.images]
    own = policy.logprobs(rows)
    grey = policy.logprobs(rows, [_blank(row) for row in rows])
    pairs = [(row, partner(row, rows)) for row in rows]
    with_partner = [i for i, (_, other) in enumerate(pairs) if other is not None]
    others = [_in_place(row, other) for row, other in pairs if other is not None]
    exchanged = policy.logprobs([rows[i] for i in with_partner], others)
    strange = dict(zip(with_partner, exchanged, strict=True))
    return Sight(tuple(_change(row, own[i], grey[i], strange.get(i)) for i, row in enumerate(rows)))


def _change(
    row: RecordedTokens,
    own: Sequence[float],
    grey: Sequence[float],
    strange: Sequence[float] | None,
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


def partner(row: RecordedTokens, rows: Sequence[RecordedTokens]) -> RecordedTokens | None:
    """The row whose images a row is shown in the exchange: the next one of another patient, if
    possible with another right answer."""
    start = next(i for i, each in enumerate(rows) if each is row)
    following = [*rows[start + 1 :], *rows[:start]]
    others = [each for each in following if each.case.group != row.case.group]
    different = [each for each in others if each.case.answer != row.case.answer]
    return next(iter(different or others), None)


def _blank(row: RecordedTokens) -> list[Image.Image]:
    return [Image.new("RGB", image.size, GREY) for image in row.images]


def _in_place(row: RecordedTokens, other: RecordedTokens) -> list[Image.Image]:
    """The other's images at the sizes of the row's own, so that every feature has its token."""
    count = len(other.images)
    return [
        other.images[place % count].convert("RGB").resize(image.size)
        for place, image in enumerate(row.images)
    ]


@dataclass(frozen=True)
class Agreement:
    """How far the log-probabilities of sampler and trainer are apart, on tokens that were sampled.

    Attributes:
        ratios: for each kind of token, log p(trainer) - log p(sampler) of every such token.
    """

    ratios: Mapping[Kind, tuple[float, ...]] = field(default_factory=dict)

    def _ratios(self, kind: Kind | None) -> NDArray[np.float64]:
        every = self.ratios.values() if kind is None else [self.ratios.get(kind, ())]
        return np.array([value for values in every for value in values])

    def kl(self, kind: Kind | None = None) -> float:
        """Mean of exp(r) - 1 - r in nats a token: Schulman's estimator k3 of KL(sampler, trainer),
        never negative (http://joschu.net/blog/kl-approx.html). 0 where there are no tokens."""
        ratio = np.clip(self._ratios(kind), -MOST, MOST)
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
    policy: LocalModel,
    played: Sequence[tuple[Case, Trajectory]],
    pictures: Mapping[str, Image.Image],
    *,
    temperature: float = 1.0,
) -> Agreement:
    """Hold the sampler's recorded log-probabilities against the trainer's of the same tokens.

    The trainer's come from one pass over the whole in train mode, as where the loss is computed:
    dropout that the sampler does not have shows here. Tokens that cannot be sampled are omitted
    from the distribution, as the sampler omits them.

    Args:
        played, pictures: as `sight`'s; demonstrations were not sampled and say nothing.
        temperature: at which they were sampled, above 0.
    """
    rows = recorded_tokens(policy.processor.tokenizer, played, pictures)
    banned = next((t.vision_token_ids for _, t in played if t.kind == "sampled"), ())
    return agreement_on(policy, rows, banned=banned, temperature=temperature)


def agreement_on(
    policy: LocalModel,
    rows: Sequence[RecordedTokens],
    *,
    banned: Sequence[int],
    temperature: float = 1.0,
) -> Agreement:
    """`agreement` on rows that are prepared already; `banned` are the tokens never sampled."""
    rows = [row for row in rows if row.logprobs]
    trainers = policy.logprobs(rows, temperature=temperature, banned=banned, training=True)
    ratios: dict[Kind, list[float]] = {}
    for row, values in zip(rows, trainers, strict=True):
        for kind, ours, theirs in zip(row.kinds, values, row.logprobs, strict=True):
            ratios.setdefault(kind, []).append(ours - theirs)
    return Agreement({kind: tuple(values) for kind, values in ratios.items()})
