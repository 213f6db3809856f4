"""Exchanged views: tools show another case, and nothing else changes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgym.cases import Case, open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.imaging.opened import OpenedImage, opened_image
from medgym.imaging.study import ImageRef, Study, open_image
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.metrics.counterfactual import ExchangedRules, exchanged
from medgym.metrics.stretched import stretched
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout import collect
from medgym.tool import load_tools
from tests.imaging.slides.conftest import levels_of, write_tiff

CASES = list(open_cases("phantom,look=radiograph,question=kind:test[:24]"))
RULES = Rules(tools=load_tools(["zoom", "segment"]), view_size=64)
LOOK = render_call("zoom", {"view": 0, "box": [250, 250, 750, 750]})


def test_tools_show_the_same_region_of_another_image() -> None:
    other = exchanged(RULES, CASES)
    for case in CASES[:6]:
        own, seen = RULES.begin(case), other.begin(case)
        assert own.messages[1].text == seen.messages[1].text
        assert own.messages[1].images[0].sha256 == seen.messages[1].images[0].sha256
        for reply in (LOOK, render_call("zoom", {"view": 1, "box": [0, 0, 500, 500]})):
            told, shown = own.step(reply), seen.step(reply)
            assert told is not None
            assert shown is not None
            assert told.text == shown.text
            assert told.images[0].sha256 != shown.images[0].sha256
        assert [v.box_px for v in own.workspace.views] == [v.box_px for v in seen.workspace.views]
        donors = [c for c in CASES if c.group != case.group]
        pictures = [open_image(c.images[0]).render((128, 128, 256, 256), (64, 64)) for c in donors]
        last = seen.workspace.views[-1].picture
        assert any(np.array_equal(np.asarray(last), np.asarray(p)) for p in pictures)


def test_the_choice_follows_from_the_cases_alone() -> None:
    def shown(cases: Sequence[Case]) -> str:
        episode = exchanged(RULES, cases).begin(CASES[0])
        episode.step(LOOK)
        return episode.messages[-1].images[0].sha256

    assert shown(CASES) == shown(CASES[::-1]) == shown([*CASES, *CASES])


def test_the_other_case_is_of_another_patient_and_alike() -> None:
    mixed = list(open_cases("phantom,look=radiograph+ct,question=side+kind:test[:16]"))
    others: Any = exchanged(RULES, mixed)
    by_image = {case.images: case for case in mixed}
    for case in mixed:
        donor = by_image[others.others[case.id]]
        assert donor.group != case.group
        assert donor.modality == case.modality


def test_one_patient_cannot_stand_in_for_themself() -> None:
    with pytest.raises(UserError, match="two groups"):
        exchanged(RULES, CASES[:1])
    with pytest.raises(UserError, match="give `exchanged` all"):
        exchanged(RULES, CASES[:2]).begin(CASES[2])


class Reader(Policy):
    """Zooms in and is right exactly where what it is shown is the case's own."""

    needs_gold = True
    spec = "reader"

    def __init__(self, case: Case | None = None) -> None:
        self._case = case

    def for_case(self, case: Case) -> Policy:
        return Reader(case)

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        assert self._case is not None
        if len(conversation) == 2:
            return Reply(LOOK)
        true = open_image(self._case.images[0]).render((128, 128, 384, 384), (64, 64))
        same = np.array_equal(np.asarray(conversation[-1].images[0].image), np.asarray(true))
        return Reply(render_answer(self._case.answer if same else "nothing"))


def test_a_policy_that_reads_its_views_loses_its_reward_and_a_blind_one_does_not() -> None:
    def rewards(policy: Policy, rules: Rules) -> list[float | None]:
        return [t.reward for t in collect(CASES, policy, rules, ordered=True)]

    other = exchanged(RULES, CASES)
    assert rewards(Reader(), RULES) == [pytest.approx(1.1)] * len(CASES)
    assert rewards(Reader(), other) == [0.0] * len(CASES)
    prior = load_policy("scripted:prior")
    assert rewards(prior, RULES) == rewards(prior, other)


def test_an_unreadable_image_of_another_case_costs_only_the_episode() -> None:
    rules = exchanged(RULES, CASES[:3])
    assert isinstance(rules, ExchangedRules)
    lost = {CASES[0].id: (ImageRef(uri="file:/nowhere/lost.png"),)}
    broken = replace(rules, others={**rules.others, **lost})
    first, *others = collect(CASES[:3], "scripted:prior", broken, ordered=True)
    assert first.failure is not None
    assert first.failure.startswith("image: ")
    assert "lost.png" not in first.failure
    assert not any(each.failure for each in others)


def test_an_image_of_another_size_is_stretched() -> None:
    large = list(open_cases("phantom,look=radiograph,size=1792,question=kind:test[:1]"))
    cases = [CASES[0], large[0].model_copy(update={"modality": CASES[0].modality})]
    rules = Rules(tools=load_tools(["zoom"]), view_size=64, coordinates="pixel")
    study = Study(np.random.default_rng(0).integers(0, 255, (100, 300)).astype(np.uint8))
    episode = exchanged(rules, cases).begin(cases[1], [study])
    said = episode.step(render_call("zoom", {"view": 0, "box": [0, 0, 64, 21]}))
    assert said is not None
    assert said.text == "View 1: 300 x 100 pixels of image 0."


class Looking(Policy):
    """Looks once, then says anything."""

    spec = "looking"

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        return Reply(LOOK if len(conversation) == 2 else render_answer("A"))


def test_a_slide_of_another_size_is_stretched_as_it_is_read(tmp_path: Path) -> None:
    """The whole of a slide is never decoded."""
    sizes = ((512, 384), (300, 200))
    slides = [write_tiff(tmp_path / f"{size[0]}.tif", levels_of(*size)) for size in sizes]
    cases = [
        CASES[0].model_copy(
            update={"id": path.stem, "group": path.stem, "images": (ImageRef(uri=f"file:{path}"),)}
        )
        for path in slides
    ]
    rules = Rules(tools=load_tools(["zoom"]), view_size=64)
    for case, size, (width, height), other in zip(
        cases, sizes, sizes[::-1], slides[::-1], strict=True
    ):
        (played,) = collect([case], Looking(), exchanged(rules, cases))
        assert (played.failure, len(played.looks)) == (None, 1)
        theirs = open_image(ImageRef(uri=f"file:{other}"))
        shown = stretched(OpenedImage.of(theirs), opened_image(case.images[0])).start
        assert shown.size == size
        box = (size[0] * 0.25, size[1] * 0.5, size[0] * 0.75, size[1] * 1.0)
        view = theirs.render((width * 0.25, height * 0.5, width * 0.75, height * 1.0), (40, 30))
        assert np.array_equal(np.asarray(shown.render(box, (40, 30))), np.asarray(view))
        rows = (np.arange(size[1]) * 2 + 1) * height // (2 * size[1])
        columns = (np.arange(size[0]) * 2 + 1) * width // (2 * size[0])
        pixels = np.asarray(theirs.pixels)[np.ix_(rows, columns)]
        assert np.array_equal(shown.pixels[10:90, 5:60], pixels[10:90, 5:60])
        assert np.array_equal(np.asarray(shown.pixels), pixels)
