"""The base of the recipe `tiny-volume`: a model that can look through a volume, and need not.

It is made as that of `tiny` is (`base`): its vision is warmed up, then it imitates dialogues. The
warm-up shows scouts alone first: beside views that are easier it does not learn to place a lesion
by the mean of a scout's tokens, and without that the dialogues never teach which slice to take.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
import transformers

from medgym.cases import Case, open_cases
from medgym.imaging.study import open_study
from medgym.progress import progress
from medgym.seeds import seed_of
from medgym.trajectory import Trajectory

from ..models.checkpoint import save_model
from ..sft.trainer import supervised
from .base import MADE_BY, THREADS, BaseConfig, _schedule, _shown, _threads
from .cache import cached, source_of
from .model import build_model
from .tokenizer import build_processor
from .volume_dialogues import calls_of, heard, looking
from .warmup import Glimpse, warm_up

VOLUME = BaseConfig(
    cases="phantom,look=ct-volume,question=kind,size=128,depth=8:train[:3000]",
    warm_steps=250,
    steps=300,
)
"""What the base of `tiny-volume` is made with."""

SCOUTS_FIRST = 2.6
"""Steps that show scouts alone, for each step that shows all views."""


def volume_base(config: BaseConfig = VOLUME) -> Path:
    """The folder of the base, made on the first call and taken from the cache later.

    Raises:
        UserError: nothing can be written to the cache.
    """
    cases, size = open_cases(config.cases), config.model.view_size
    lessons = looking(cases, size, config.direct, config.refused)
    pieces, pictures = heard(lessons)
    versions = [torch.__version__, transformers.__version__]
    source = source_of(*MADE_BY, "tiny/volume", "tiny/volume_dialogues")
    made_of = [asdict(config), pieces, pictures, source, versions]

    def build(folder: Path) -> None:
        processor = build_processor(pieces, size)
        model = build_model(config.model, processor.tokenizer, seed_of(config.seed, "weights"))
        with _threads(THREADS):
            shown, images = _shown(model, processor, lessons, seed_of(config.seed, "dialogues"))
            looked = lessons[0].cases
            views = volume_glimpses(looked, shown[: len(looked)])
            scouts = [view for view in views if view.look == SCOUT]
            first = round(SCOUTS_FIRST * config.warm_steps)
            with progress("base: seeing", first + config.warm_steps) as advance:
                for each, steps in ((scouts, first), (views, config.warm_steps)):
                    warm_up(
                        model,
                        processor,
                        each,
                        images,
                        steps=steps,
                        seed=seed_of(config.seed, "warm-up"),
                        learning_rate=config.warm_rate,
                        on_step=lambda step, loss: advance(1, loss=loss),
                    )
            tokens = processor.tokenizer.get_added_vocab()
            with progress("base: speaking", config.steps) as advance:
                supervised(
                    model,
                    processor,
                    shown,
                    images.__getitem__,
                    _schedule(config, config.steps, config.rate),
                    seed=seed_of(config.seed, "sft"),
                    parts=("language", "vision", "projector"),
                    token_weights={i: _weight(t, config.coordinates) for t, i in tokens.items()},
                    on_step=lambda step, logs: advance(1, loss=logs["loss"]),
                )
        save_model(model, processor, folder)

    return cached("tiny-volume", made_of, build)


def tiny_volume() -> Path:
    """The built-in model `tiny-volume`, the base of the recipe of that name."""
    return volume_base()


def _weight(piece: str, coordinates: float) -> float:
    """The weight of a token: an index is the one number of its call, a box has four of them."""
    number, index, _ = piece.removesuffix(", ").partition("}")
    if not number.isdecimal():
        return 1.0
    return 4 * coordinates if index else coordinates


AWAY = (-2.0, -2.0, -1.0, -1.0)
"""A lesion's box in views that do not show it."""

SCOUT, SLICE, CLOSE = range(3)
"""The sorts of views."""


def volume_glimpses(cases: Sequence[Case], trajectories: Sequence[Trajectory]) -> list[Glimpse]:
    """The views of each trajectory, with the gold of its case.

    The scout shows the columns of an image from left to right, and the images of the stack from the
    last one down to the first.
    """
    kinds = sorted({region.label for case in cases for region in case.regions})
    found = []
    for case, trajectory in zip(cases, trajectories, strict=True):
        region, stack = case.regions[0], open_study(case.images[0]).planes["axial"]
        assert region.index is not None
        kind, (x0, _, x1, _) = kinds.index(region.label), region.box_px
        count, (width, height) = stack.count, stack.size
        first, end = region.index, region.index + region.count
        scout = (x0, float(count - end), x1, float(count - first))
        shown = [use.sha256 for node in trajectory.nodes for use in node.images]
        found.append(Glimpse(shown[0], (0, 0, width, count), scout, None, SCOUT))
        there = AWAY
        said = [node.text for node in trajectory.nodes if node.role == "assistant"]
        calls = [call for text in said for call in calls_of(text)]
        for picture, call in zip(shown[1:], calls, strict=True):
            if "index" in call:
                there = region.box_px if first <= call["index"] < end else AWAY
                found.append(Glimpse(picture, (0, 0, width, height), there, None, SLICE))
            else:
                left, top, right, bottom = (value / 1000 for value in call["box"])
                box = left * width, top * height, right * width, bottom * height
                found.append(Glimpse(picture, box, there, kind, CLOSE))
    return found
