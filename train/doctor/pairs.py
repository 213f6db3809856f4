"""The checks of `medgym doctor` on a folder of pairs: their tokens, and whether their loss sees.

A preference loss that exchanges images learns something only if the exchange moves the chosen
words. It does not where the model ignores its images, where the pairs' images are blank already,
or where what is shown instead shows the same.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from PIL import Image

from medgym.local_model import ForcedTokens, LocalModel
from medgym.metrics.sight import GREY, STILL
from medgym.storage.trajectories import ImageStore

from ..data.preferences.exchange import fitted
from ..data.preferences.pair import Pair, fault_of
from ..data.preferences.relevance import differs_in_words
from ..sft.samples import Sample, sample_of
from .checks import Check, Figure
from .sight import FLOOR
from .subject import Subject

SAMPLED = 32
"""Pairs that are forced through the model, evenly over the folder."""

BETA = 0.1
"""At which the image term is reported: the default of TRL, and of the papers."""


def pairs(subject: Subject) -> Check:
    """Whether every pair can be learned from, and every image has the features that it has places.

    `images only` is the share of pairs whose two episodes are the same words on other images.
    """
    folder = subject.pairs
    assert folder is not None
    policy = subject.policy
    shown = _features(policy, folder.images)
    count = alone = placeholders = features = 0
    figure: dict[str, float | int | str]
    for count, pair in enumerate(folder, start=1):
        figure = {"pairs": len(folder), "at": count}
        why = fault_of(pair)
        if why is not None:
            figure["error"] = why
            return Check("pairs", "fail", figure, "build the pairs again: such a pair is no pair")
        alone += not differs_in_words(pair)
        for side in (pair.chosen, pair.rejected):
            if side.vision_token_ids != policy.vision_token_ids:
                figure["error"] = "tokens of another tokenizer"
                return Check("pairs", "fail", figure, "build the pairs for the model that learns")
            sample = sample_of(side)  # validates it
            written = sample.ids.count(sample.image_token)
            made = sum(map(shown, sample.pictures))
            placeholders, features = placeholders + written, features + made
            if written != made:
                figure["error"] = f"{written} placeholders, {made} features"
                fix = "keep the size of exchanged images, and the processor that wrote the tokens"
                return Check("pairs", "fail", figure, fix)
    figure = {
        "pairs": count,
        "images only": alone / count if count else 0.0,
        "placeholders": placeholders,
        "features": features,
    }
    if not count:
        return Check("pairs", "warn", figure, "the folder holds no pair: build it again")
    return Check("pairs", "pass", figure)


def pair_sight(subject: Subject) -> Check:
    """Whether exchanged images move the log-probability of the chosen words.

    `exchanged` is by how many nats they move, on average and without sign, when the images of the
    rejected episode stand in, or another case's where only the words differ; `blank` when grey
    does.
    The image terms are -log sigma(beta d) of the signed moves d, against a reference that sees
    nothing. A loss that sees nothing stays at log 2.
    """
    folder = subject.pairs
    assert folder is not None
    step = max(1, len(folder) // SAMPLED)
    picked = [folder[place] for place in range(0, len(folder), step)][:SAMPLED]
    drawn = [(pair, sample_of(pair.chosen)) for pair in picked]
    drawn = [(pair, sample) for pair, sample in drawn if sample.pictures]
    if not drawn:
        return Check("pair sight", "warn", {"pairs": 0}, "no pair shows an image: nothing to see")
    get = cache(folder.images.get)
    rows = [_row(sample, get) for _, sample in drawn]
    own = subject.policy.logprobs(rows)
    others = [_others(place, drawn, get) for place in range(len(drawn))]
    blanked = _moves(own, subject.policy.logprobs(rows, [_grey(row.images) for row in rows]))
    exchanged = _moves(own, subject.policy.logprobs(rows, others))
    still = [largest <= STILL for _, largest in exchanged]
    images = [image for row in rows for image in row.images]
    figure = {
        "pairs": len(rows),
        "exchanged": _mean([abs(move) for move, _ in exchanged]),
        "blank": _mean([abs(move) for move, _ in blanked]),
        "image term": _term([move for move, _ in exchanged]),
        "blank image term": _term([move for move, _ in blanked]),
        "still": sum(still) / len(still),
        "one colour": sum(map(_one_colour, images)) / len(images),
    }
    return _verdict(figure, blind=all(largest <= STILL for _, largest in blanked))


def _verdict(figure: Figure, *, blind: bool) -> Check:
    if figure["still"] == 1:
        if figure["one colour"] == 1:
            fix = (
                "the loss does not see images: those of the pairs are blank already; build the "
                "pairs from a run that kept its images"
            )
        elif blind:
            fix = (
                "the loss does not see images: the model ignores them; see that image features "
                "reach the language model before it learns from pairs"
            )
        else:
            fix = (
                "the loss does not see images: what is shown instead shows the model the same; "
                "exchange the images otherwise"
            )
        return Check("pair sight", "fail", figure, fix)
    if float(figure["exchanged"]) < FLOOR:
        fix = "exchanged images hardly move the words: expect little of pairs of images"
        return Check("pair sight", "warn", figure, fix)
    if float(figure["still"]) > 0:
        fix = "some pairs stay still when their images are exchanged: see whether they show any"
        return Check("pair sight", "warn", figure, fix)
    return Check("pair sight", "pass", figure)


def _features(policy: LocalModel, images: ImageStore) -> Callable[[str], int]:
    """How many features an image of a hash becomes; its size alone decides."""

    @cache
    def of_size(size: tuple[int, int]) -> int:
        return policy.count_image_features([Image.new("RGB", size, GREY)])

    @cache
    def of_name(name: str) -> int:
        return of_size(images.get(name).size)

    return of_name


def _row(sample: Sample, get: Callable[[str], Image.Image]) -> ForcedTokens:
    return ForcedTokens(
        ids=sample.ids,
        places=tuple(place for place, own in enumerate(sample.mask) if own),
        images=tuple(map(get, sample.pictures)),
    )


def _others(
    place: int, drawn: Sequence[tuple[Pair, Sample]], get: Callable[[str], Image.Image]
) -> list[Image.Image]:
    """What is shown in place of the images of one chosen episode."""
    pair, sample = drawn[place]
    own = list(map(get, sample.pictures))
    if not differs_in_words(pair):
        return list(map(get, sample_of(pair.rejected).pictures))
    following = (*drawn[place + 1 :], *drawn[:place])
    other = next((s for p, s in following if p.case_id != pair.case_id), None)
    if other is None:
        return _grey(own)
    count = len(other.pictures)
    return [fitted(get(other.pictures[i % count]), image) for i, image in enumerate(own)]


def _grey(images: Sequence[Image.Image]) -> list[Image.Image]:
    return [Image.new("RGB", image.size, GREY).convert(image.mode) for image in images]


def _moves(
    own: Sequence[Sequence[float]], other: Sequence[Sequence[float]]
) -> list[tuple[float, float]]:
    """For each row, by how much its log-probability falls, and the greatest move of a token."""
    both = [np.subtract(mine, theirs) for mine, theirs in zip(own, other, strict=True)]
    return [(float(each.sum()), float(np.abs(each).max(initial=0.0))) for each in both]


def _term(moves: Sequence[float]) -> float:
    return _mean(np.logaddexp(0.0, -BETA * np.array(moves)).tolist())


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _one_colour(image: Image.Image) -> bool:
    bands = np.asarray(image.convert("RGB")).reshape(-1, 3)
    return bool((bands == bands[0]).all())
