"""Warm-up of a vision model: every visual token, and their mean, learn what they show.

A small model that starts from scratch on only dialogues learns one answer from an episode, and does
not learn to see within minutes. Here two linear heads, dropped afterwards, predict more. From each
visual token: which of its cells the lesion covers and, in a close view, the lesion's kind. From the
mean of a view's tokens: where the lesion is, its kind, and the sort of image (where there are
several). The second head makes dialogues fast afterwards: the attention of a fresh language model
is spread evenly, so it can use at once what the mean carries. Without it the model stays on a
plateau for hundreds of steps.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from medgym.cases import Case
from medgym.errors import UserError
from medgym.imaging.study import Box
from medgym.trajectory import Trajectory

if TYPE_CHECKING:
    from transformers import ProcessorMixin, Qwen3VLForConditionalGeneration

CELLS = 4
"""Cells of a visual token along a side: with tokens of 16 pixels, a cell is 4 x 4 pixels."""

BINS = 14
"""Places along an axis of a view that the mean distinguishes."""

NOTHING = 0.2
"""Weight of a token that shows no lesion; there are many more of these than of the others."""

DENSE = 10.0
"""Weight of the cells' loss: most cells are empty, so that its mean is small."""


@dataclass(frozen=True)
class Glimpse:
    """One view of an episode, and what is under it.

    Attributes:
        picture: the view's content hash.
        box_px: the region that it shows, in original pixels.
        lesion_px: the lesion's box, in original pixels.
        kind: index of the lesion's kind; None in a view that does not show it.
        look: index of the sort of image, among those of all views.
    """

    picture: str
    box_px: Box
    lesion_px: Box
    kind: int | None
    look: int = 0


def glimpses(cases: Sequence[Case], trajectories: Sequence[Trajectory]) -> list[Glimpse]:
    """The first view and the looks of each trajectory, with the gold of its case.

    `cases` are those of the trajectories, of one image each; the label of a region is the lesion's
    kind. Cases without a region with a mask (which has the image's size as well) are skipped.
    """
    found = []
    kinds = sorted({region.label for case in cases for region in case.regions})
    looks = sorted({case.specialty or "" for case in cases})
    for case, trajectory in zip(cases, trajectories, strict=True):
        if not case.regions or case.regions[0].mask is None:
            continue
        lesion, mask = case.regions[0].box_px, case.regions[0].mask
        kind, look = kinds.index(case.regions[0].label), looks.index(case.specialty or "")
        shown = [use.sha256 for node in trajectory.nodes for use in node.images]
        whole = (0, 0, mask.width, mask.height)
        found.append(Glimpse(shown[0], whole, lesion, None, look))
        for picture, view in zip(shown[1:], trajectory.looks, strict=True):
            found.append(Glimpse(picture, view.box_px, lesion, kind, look))
    return found


def coverage(glimpse: Glimpse, cells: tuple[int, int]) -> NDArray[np.float32]:
    """The share of each cell of a view that the lesion's box covers; `cells` is (columns, rows)."""
    x0, y0, x1, y1 = glimpse.box_px
    left, top, right, bottom = glimpse.lesion_px
    columns = np.linspace(x0, x1, cells[0] + 1)
    rows = np.linspace(y0, y1, cells[1] + 1)
    across = np.clip(np.minimum(columns[1:], right) - np.maximum(columns[:-1], left), 0, None)
    down = np.clip(np.minimum(rows[1:], bottom) - np.maximum(rows[:-1], top), 0, None)
    area = (columns[1] - columns[0]) * (rows[1] - rows[0])
    shares: NDArray[np.float32] = (np.outer(down, across) / area).astype(np.float32)
    return shares


def warm_up(
    model: "Qwen3VLForConditionalGeneration",
    processor: "ProcessorMixin",
    views: Sequence[Glimpse],
    pictures: Mapping[str, Image.Image],
    *,
    steps: int,
    seed: int,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    on_step: Callable[[int, float], None] | None = None,
) -> None:
    """Train the model's vision tower on `views`; nothing else of the model changes.

    Args:
        model: a Qwen-VL model with `get_image_features`.
        views: what the model looks at. pictures: their pixels by content hash.
        steps: optimiser steps of `batch_size` views each.
        on_step: receives the step and its loss.

    Raises:
        UserError: no views.
    """
    if not views:
        raise UserError("there are no views to warm up on; fix: give cases with masked regions")
    tower = model.model.visual
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kinds = 1 + max((view.kind for view in views if view.kind is not None), default=0)
        looks = 1 + max(view.look for view in views)
        heads = _Heads(int(tower.config.out_hidden_size), kinds, looks).to(model.device)
    weights = [*tower.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))
    rng = np.random.default_rng(seed)
    order: list[int] = []
    model.train()
    for step in range(steps):
        while len(order) < batch_size:
            order += rng.permutation(len(views)).tolist()
        batch, order = [views[i] for i in order[:batch_size]], order[batch_size:]
        images = [pictures[glimpse.picture] for glimpse in batch]
        inputs = processor.image_processor(images=images, return_tensors="pt").to(model.device)
        tokens = model.get_image_features(**inputs).pooler_output
        grids = (inputs["image_grid_thw"][:, 1:] // tower.spatial_merge_size).tolist()
        loss = heads.loss(list(tokens), batch, grids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        rate.step()
        if on_step is not None:
            on_step(step, float(loss.detach()))


def _rate(step: int, steps: int) -> float:
    """Up over 30 steps, then down along a half cosine."""
    return min(1.0, (step + 1) / 30) * (0.5 * (1 + math.cos(math.pi * step / steps)) + 0.02)


class _Heads(torch.nn.Module):
    """What is predicted from each visual token (`dense`) and from their mean (`mean`)."""

    weight: torch.Tensor

    def __init__(self, width: int, kinds: int, looks: int) -> None:
        super().__init__()
        self.kinds = kinds
        self.parts = [BINS, BINS, kinds, looks]
        self.dense = torch.nn.Linear(width, CELLS * CELLS + kinds + 1)
        self.mean = torch.nn.Linear(width, sum(self.parts))
        weight = torch.ones(kinds + 1)
        weight[kinds] = NOTHING
        self.register_buffer("weight", weight)

    def loss(
        self,
        tokens: Sequence[torch.Tensor],
        batch: Sequence[Glimpse],
        grids: Sequence[tuple[int, int]],
    ) -> torch.Tensor:
        """The sum of all losses; `grids` are the (rows, columns) of each view's tokens."""
        targets = [_targets(g, *grid, self.kinds) for g, grid in zip(batch, grids, strict=True)]
        cells, labels, answers = zip(*targets, strict=True)
        device = self.weight.device
        dense = self.dense(torch.cat(list(tokens)))
        covered = torch.from_numpy(np.concatenate(cells)).to(device)
        where = functional.binary_cross_entropy_with_logits(dense[:, : CELLS * CELLS], covered)
        what = _cross_entropy(dense[:, CELLS * CELLS :], np.concatenate(labels), self.weight)
        # The language model normalises each token before it attends.
        means = [functional.rms_norm(each, each.shape[-1:]).mean(dim=0) for each in tokens]
        scores = self.mean(torch.stack(means)).split(self.parts, dim=-1)
        whole = [_cross_entropy(s, a) for s, a in zip(scores, np.array(answers).T, strict=True)]
        return DENSE * where + what + torch.stack(whole).sum()


def _cross_entropy(
    scores: torch.Tensor, labels: NDArray[np.int64], weight: torch.Tensor | None = None
) -> torch.Tensor:
    """The mean over labels that are not -100, 0 where there are none."""
    target = torch.from_numpy(labels).to(scores.device)
    return torch.nan_to_num(functional.cross_entropy(scores, target, weight=weight))


def _targets(
    glimpse: Glimpse, rows: int, columns: int, kinds: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], tuple[int, int, int, int]]:
    """For one view: covered cells and label of each token; bins of x and y, kind and look of it.

    A label of -100 is not predicted: the kind in a view from afar or at a token that the lesion
    covers in part; anything except the look where a view shows the lesion only in part.
    """
    cells = coverage(glimpse, (columns * CELLS, rows * CELLS))
    squares = cells.reshape(rows, CELLS, columns, CELLS).transpose(0, 2, 1, 3)
    tokens = squares.reshape(rows * columns, CELLS * CELLS)
    labels = np.full(rows * columns, -100, dtype=np.int64)
    if glimpse.kind is not None:
        share = tokens.mean(axis=1)
        labels[share > 0.5] = glimpse.kind
        labels[share == 0] = kinds
    x0, y0, x1, y1 = glimpse.box_px
    left, top, right, bottom = glimpse.lesion_px
    if not (x0 <= left and y0 <= top and right <= x1 and bottom <= y1):
        return tokens, labels, (-100, -100, -100, glimpse.look)
    across, down = (left + right - 2 * x0) / (x1 - x0) / 2, (top + bottom - 2 * y0) / (y1 - y0) / 2
    kind = -100 if glimpse.kind is None else glimpse.kind
    return tokens, labels, (int(across * BINS), int(down * BINS), kind, glimpse.look)
