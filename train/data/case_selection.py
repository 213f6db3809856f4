"""Which cases are worth training on: rare ones stay, redundant ones go.

After CheXficient (arXiv 2602.22843 and its released code), which chooses image-report pairs for
contrastive pretraining: pairs far from all prototypes of what was seen are under-represented and
informative, pairs near one are redundant. By its rule,
of the cases nearest to one prototype the farthest 5 % are outliers and left out, the next 10 % are
all kept, and of the rest those are kept that lie far from each other (farthest-point sampling).
There are 32 prototypes, found by k-means.

What is ours: a case is represented by the policy's own model (mean last hidden state over the image
tokens and over the other tokens of its question, each of length 1, where CheXficient has the two
encoders that it trains). All cases are judged at once before training, so prototypes stay where
k-means put them. As many are kept as are asked for, and they are sampled together, far from all
that is kept already, where CheXficient keeps 10 around each prototype in every batch. Where a rate
of success is known, distances are weighted by how much a group would learn from the case
(4 p (1 - p), the variance of its outcome).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.cluster.vq import kmeans2

from medgym.cases import Case
from medgym.episode import Rules
from medgym.imaging.opened import UnreadableImage
from medgym.local_model import LocalModel
from medgym.messages import Message
from medgym.progress import progress

from ..sft.samples import Collator, Sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROTOTYPES = 32
OUTLIERS, SUPPORT = 0.95, 0.85
"""Quantiles of the distance to a prototype above which a case is an outlier, and above which it is
kept in any case: the released code's values."""

BATCH = 16
"""Questions that are represented together."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Curated:
    """What became of each case: `kept`, ascending indices; `left_out`, the reason by index."""

    kept: tuple[int, ...]
    left_out: dict[int, str]


def curate(
    features: Matrix, share: float, *, seed: int, weights: Sequence[float] | None = None
) -> Curated:
    """Choose `share` of the cases.

    Args:
        features: (cases, dimensions), each row of length 1.
        share: of all cases, from 0 to 1.
        seed: of k-means.
        weights: how informative each case is, above 0; by default all are alike.
    """
    count = len(features)
    target = max(1, round(share * count))
    worth = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    number = max(1, min(PROTOTYPES, count // 8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a prototype without cases is none
        prototypes, nearest = kmeans2(features, number, minit="++", seed=seed)
    distance = np.linalg.norm(features - prototypes[nearest], axis=1)
    support: list[int] = []
    central: list[int] = []
    left_out: dict[int, str] = {}
    for prototype in range(number):
        members = np.flatnonzero(nearest == prototype)
        if not members.size:
            continue
        far, near = np.quantile(distance[members], (OUTLIERS, SUPPORT))
        left_out |= {int(i): "outlier" for i in members if distance[i] > far}
        support += [int(i) for i in members if near < distance[i] <= far]
        central += [int(i) for i in members if distance[i] <= near]
    support.sort(key=lambda i: (-distance[i] * worth[i], i))
    chosen = _spread(features, support[:target], sorted(central), worth, target)
    rest = (i for i in range(count) if i not in chosen and i not in left_out)
    return Curated(tuple(sorted(chosen)), left_out | dict.fromkeys(rest, "redundant"))


def _spread(
    features: Matrix, kept: Sequence[int], others: Sequence[int], worth: Matrix, target: int
) -> set[int]:
    """`kept` and as many of `others` as there is room for, each the farthest from all before it."""
    rest = np.array(others, dtype=np.int64)
    gap = np.full(len(rest), np.inf)

    def pass_by(one: int) -> None:
        # Rows of length 1: a distance is a product.
        np.minimum(gap, np.sqrt(np.clip(2 - 2 * features[rest] @ features[one], 0, None)), out=gap)

    for one in kept:
        pass_by(one)
    chosen = list(kept)
    while rest.size and len(chosen) < target:
        best = int(np.argmax(np.where(np.isinf(gap), worth[rest], gap * worth[rest])))
        chosen.append(int(rest[best]))
        rest, gap = np.delete(rest, best), np.delete(gap, best)
        pass_by(chosen[-1])
    return set(chosen)


@torch.no_grad()
def represent(cases: Sequence[Case], student: LocalModel, rules: Rules) -> Matrix:
    """(cases, 2 x hidden size): what the student's model makes of each question, of length 1.

    Args:
        student: the policy of a model in this process.
        rules: by which the questions are put.
    """
    model, image_token = student.model, student.vision_token_ids[0]
    pictures: dict[str, Image.Image] = {}
    collate = Collator(model, student.processor, pictures.__getitem__)
    was_training = model.training
    model.eval()
    rows = []
    with progress("representing cases", len(cases)) as advance:
        for start in range(0, len(cases), BATCH):
            pictures.clear()
            samples = []
            for case in cases[start : start + BATCH]:
                prompt = student.prompt(_question(case, rules))
                names = tuple(f"{case.id} {number}" for number in range(len(prompt.images)))
                pictures.update(zip(names, prompt.images, strict=True))
                none = (0,) * len(prompt.ids)
                samples.append(Sample(prompt.ids, none, names, image_token))
            rows.append(_means(model, collate(samples), image_token))
            advance(len(samples))
    model.train(was_training)
    return np.concatenate(rows)


def _question(case: Case, rules: Rules) -> tuple[Message, ...]:
    """What an episode begins with; without the images where these cannot be read."""
    try:
        return tuple(rules.begin(case).messages)
    except UnreadableImage:
        bare = case.model_copy(update={"images": (), "views": (), "regions": ()})
        return tuple(rules.begin(bare).messages)


def _means(model: "PreTrainedModel", batch: dict[str, torch.Tensor], image_token: int) -> Matrix:
    inputs = {name: value.to(model.device) for name, value in batch.items() if name != "labels"}
    state = model.base_model(**inputs, use_cache=False).last_hidden_state.float()
    held = inputs["attention_mask"].bool()
    seen = (inputs["input_ids"] == image_token) & held
    halves = []
    for mask in (seen, held & ~seen):
        part = (state * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        halves.append(torch.nn.functional.normalize(part, dim=-1))
    whole = torch.nn.functional.normalize(torch.cat(halves, dim=-1), dim=-1)
    return whole.cpu().numpy().astype(np.float64)
