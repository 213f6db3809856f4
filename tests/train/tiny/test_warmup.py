"""The warm-up asks for what is really under a view, and teaches the vision tower alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.policy import load_policy
from medgym.rollout import collect
from medgym.tool import load_tools
from medgym.train.tiny.model import TinyConfig, build_model
from medgym.train.tiny.warmup import BINS, CELLS, Glimpse, _targets, coverage, glimpses, warm_up

RULES = Rules(tools=load_tools(["zoom"]), max_turns=2, view_size=64)
CASES = open_cases("phantom,look=radiograph,question=kind:train[:24]")
SMALL = TinyConfig(hidden=32, text_layers=1, vision_layers=1, heads=2)


@pytest.fixture(scope="module")
def seen() -> tuple[list[Glimpse], Mapping[str, Image.Image]]:
    pictures: dict[str, Image.Image] = {}

    def keep(messages: Any) -> None:
        pictures.update((part.sha256, part.image) for m in messages for part in m.images)

    policy = load_policy("scripted:demonstrator,good=0.6,random=0.2,steps=7")
    played = list(collect(CASES, policy, RULES, on_messages=keep))
    assert 0 < sum(len(t.looks) for t in played) < len(played)
    return glimpses(CASES, played), pictures


def test_glimpses_name_their_pictures_and_regions(
    seen: tuple[list[Glimpse], Mapping[str, Image.Image]],
) -> None:
    views, pictures = seen
    afar = [view for view in views if view.kind is None]
    assert [view.lesion_px for view in afar] == [case.regions[0].box_px for case in CASES]
    assert {view.box_px for view in afar} == {(0, 0, 512, 512)}
    assert {view.picture for view in views} <= pictures.keys()
    close = [view for view in views if view.kind is not None]
    assert all(view.box_px[2] - view.box_px[0] == 128 for view in close)


def test_coverage_is_the_share_of_each_cell() -> None:
    view = Glimpse("", (100, 0, 180, 40), (110, 10, 145, 30), None)
    shares = coverage(view, (4, 2))
    assert np.allclose(shares, [[0.25, 0.5, 0.125, 0]] * 2)
    assert shares.sum() * 400 == pytest.approx(35 * 20)


def test_targets_of_a_view_from_afar_ask_for_the_place_and_not_for_the_kind() -> None:
    view = Glimpse("", (0, 0, 512, 512), (384, 128, 448, 192), None)
    cells, labels, answers = _targets(view, 4, 4, kinds=4)
    assert cells.shape == (16, CELLS * CELLS)
    assert cells.sum(axis=1).nonzero()[0].tolist() == [1 * 4 + 3]
    assert set(labels.tolist()) == {-100}
    assert answers == (int(416 / 512 * BINS), int(160 / 512 * BINS), -100, 0)


def test_targets_of_a_close_view_ask_for_the_kind_where_it_shows() -> None:
    view = Glimpse("", (0, 0, 128, 128), (32, 32, 96, 64), 2, look=3)
    _, labels, answers = _targets(view, 4, 4, kinds=4)
    assert labels.reshape(4, 4).tolist() == [[4] * 4, [4, 2, 2, 4], [4] * 4, [4] * 4]
    assert answers == (BINS // 2, int(48 / 128 * BINS), 2, 3)


def test_a_lesion_cut_by_the_border_is_asked_for_in_its_tokens_alone() -> None:
    view = Glimpse("", (0, 0, 128, 128), (96, 0, 160, 64), 1)
    _, labels, answers = _targets(view, 4, 4, kinds=4)
    assert 1 in labels
    assert answers == (-100, -100, -100, 0)


def test_it_learns_and_changes_nothing_but_the_vision_tower(
    tiny_processor: Any, seen: tuple[list[Glimpse], Mapping[str, Image.Image]]
) -> None:
    views, pictures = seen
    models = [build_model(SMALL, tiny_processor.tokenizer, seed=0) for _ in range(3)]
    losses: list[float] = []
    for model in models[1:]:
        losses.clear()
        warm_up(
            model,
            tiny_processor,
            views,
            pictures,
            steps=30,
            seed=0,
            batch_size=16,
            on_step=lambda step, loss: losses.append(loss),
        )
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    before, one, two = (model.state_dict() for model in models)
    assert all(one[name].equal(two[name]) for name in one)
    changed = {name for name in one if not one[name].equal(before[name])}
    assert changed
    assert all(name.startswith("model.visual.") for name in changed)


def test_without_a_lesion_nothing_is_nan(tiny_processor: Any) -> None:
    model = build_model(SMALL, tiny_processor.tokenizer, seed=0)
    views = [Glimpse("a", (0, 0, 128, 128), (200, 200, 232, 232), 1)] * 4
    warm_up(model, tiny_processor, views, {"a": Image.new("RGB", (64, 32))}, steps=2, seed=0)
    assert all(torch.isfinite(weight).all() for weight in model.parameters())


def test_no_views_is_an_error_that_says_so(tiny_processor: Any) -> None:
    model = build_model(SMALL, tiny_processor.tokenizer, seed=0)
    with pytest.raises(UserError, match="no views"):
        warm_up(model, tiny_processor, [], {}, steps=1, seed=0)
