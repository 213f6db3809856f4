"""The scripted policies: the oracle is always right, the others do what their name says."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from medgym.cases import Case, Region, open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.imaging.study import ImageRef, Study
from medgym.metrics.looking import hit
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout import collect
from medgym.tool import load_tools
from medgym.trajectory import Trajectory

ZOOM = Rules(tools=load_tools(["zoom"]), view_size=64)


def play(
    spec: str,
    cases: str | Sequence[Case] = "phantom,size=256:train[:60]",
    rules: Rules = ZOOM,
    **options: Any,
) -> list[Trajectory]:
    played = open_cases(cases) if isinstance(cases, str) else cases
    return list(collect(played, load_policy(spec), rules, ordered=True, **options))


@pytest.mark.parametrize(
    "spec",
    [
        "phantom,size=256:train[:80]",
        "phantom:test[:24]",
        "phantom,look=fundus,question=size:validation[:20]",
    ],
)
def test_the_oracle_looks_and_is_right(spec: str) -> None:
    cases = open_cases(spec)
    trajectories = play("scripted:oracle", spec)
    assert all(t.correct and t.reward == pytest.approx(1.1) for t in trajectories)
    assert all(t.failed_calls == 0 and t.malformed == 0 for t in trajectories)
    for case, trajectory in zip(cases, trajectories, strict=True):
        assert hit(case, trajectory) in (True, None)
        assert len(trajectory.looks) == len(case.regions)


def test_the_oracle_speaks_pixels_where_the_episode_does() -> None:
    rules = Rules(tools=load_tools(["zoom"]), view_size=64, coordinates="pixel")
    cases = open_cases("phantom,size=256:train[:40]")
    for case, trajectory in zip(cases, play("scripted:oracle", cases, rules), strict=True):
        assert trajectory.correct
        assert trajectory.failed_calls == 0
        assert hit(case, trajectory) in (True, None)


def test_the_oracle_looks_at_every_region_of_every_image() -> None:
    case = Case(
        id="a/train/0", images=(ImageRef(uri="a:0"), ImageRef(uri="a:1", role="prior")),
        question="Which?", answer="neither", group="g", source="a", split="train",
        regions=(
            Region(label="x", box_px=(10, 10, 20, 20)),
            Region(label="y", box_px=(100, 40, 110, 60), image=1),
        ),
    )  # fmt: skip
    studies = [Study(np.zeros((200, 100), np.uint8)), Study(np.zeros((100, 400), np.uint8))]
    player = load_policy("scripted:oracle").for_case(case)
    episode = ZOOM.begin(case, studies)
    import asyncio

    while not episode.done:
        episode.step(asyncio.run(player.act(tuple(episode.messages), Sampling())))
    assert episode.answer == "neither"
    looks = [view for view in episode.workspace.views if view.made_by]
    for look, region in zip(looks, case.regions, strict=True):
        assert look.image == region.image
        assert look.box_px[0] <= region.box_px[0] + 0.5
        assert look.box_px[3] >= region.box_px[3] - 0.5


def test_without_tools_the_oracle_still_answers() -> None:
    assert all(
        t.correct and not t.looks for t in play("scripted:oracle", rules=Rules(view_size=64))
    )


def test_the_oracle_needs_its_case() -> None:
    policy = load_policy("scripted:oracle")
    assert policy.needs_gold
    assert not load_policy("scripted:prior").needs_gold


def test_the_prior_answers_each_option_equally_often_without_looking() -> None:
    cases = "phantom,size=256,question=kind:train[:60]"
    trajectories = play("scripted:prior", cases, group_size=10)
    assert all(t.turns == 1 and not t.looks and not t.malformed for t in trajectories)
    counts = Counter(t.answer for t in trajectories)
    assert set(counts) == set("ABCD")
    assert min(counts.values()) > 110
    assert 0.19 < sum(t.correct for t in trajectories) / 600 < 0.31


def test_the_random_policy_does_everything() -> None:
    trajectories = play("scripted:random", "phantom,size=256:train[:200]",
                        Rules(tools=load_tools(["zoom", "crop", "segment", "retrieve"]),
                              view_size=64))  # fmt: skip
    calls = Counter(name for t in trajectories for name in t.calls)
    assert set(calls) == {"zoom", "crop", "segment", "retrieve"}
    assert any(t.malformed for t in trajectories)
    assert any(t.looks for t in trajectories)
    assert any(t.answer for t in trajectories)


@pytest.mark.parametrize("coordinates", ["thousandths", "pixel"])
def test_a_demonstrator_shows_its_mixture(coordinates: Any) -> None:
    cases = [
        case
        for case in open_cases("phantom,look=radiograph,question=kind,size=256:train[:100]")
        for _ in range(4)
    ]
    rules = Rules(tools=load_tools(["zoom"]), view_size=64, coordinates=coordinates)
    spec = "scripted:demonstrator,good=0.4,random=0.3,steps=7"
    trajectories = play(spec, cases[::4], rules, group_size=4)
    looked = [bool(t.looks) for t in trajectories]
    hits = [bool(hit(c, t)) for c, t in zip(cases, trajectories, strict=True)]
    assert 0.62 < sum(looked) / 400 < 0.78
    assert 0.33 < sum(hits) / 400 < 0.55
    assert all(t.correct for t, h in zip(trajectories, hits, strict=True) if h)
    missed = [t.correct for t, h in zip(trajectories, hits, strict=True) if not h]
    assert 0.15 < sum(missed) / len(missed) < 0.36
    assert {t.policy for t in trajectories} == {spec}
    assert len({look.box_px for t in trajectories for look in t.looks}) <= 49


def test_the_same_seed_draws_the_same_episodes() -> None:
    for spec in ("scripted:random", "scripted:prior", "scripted:demonstrator,good=0.5"):
        one, again, other = (
            play(spec, "phantom,size=256:train[:15]", seed=seed) for seed in (1, 1, 2)
        )
        assert one == again
        assert one != other


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("scripted:oracl", "did you mean 'oracle'"),
        ("scripted:", "SCHEME:NAME"),
        ("scripted:oracle,good=1", "good"),
        ("scripted:demonstrator,good=1,good=1", "good is given twice"),
        ("scripted:demonstrator?good=much", "not a number"),
        ("scripted:demonstrator,god=1", "did you mean 'good'"),
        ("scripted:demonstrator,good=much", "not a number"),
        ("scripted:demonstrator,good", "good has no value; fix: write good=VALUE"),
        ("scripted:demonstrator,good=0.8,random=0.4", "not probabilities of one choice"),
        ("scripted:demonstrator,good=nan", "not probabilities of one choice"),
        ("scripted:demonstrator,good=-1", "not probabilities of one choice"),
        ("scripted:demonstrator,steps=1", "steps=1"),
        ("scripted:demonstrator,window=2000", "window=2000"),
        ("scripted:oracle@adapter", "adapter"),
        ("nothing:oracle", "known: |did you mean"),
        ("", "SCHEME:NAME|unknown"),
    ],
)
def test_a_wrong_spec_is_named(spec: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        load_policy(spec)
    assert "\n" not in str(error.value)


def test_a_context_that_looks_like_options_offers_none() -> None:
    from medgym.agents.scripted.policy import letters

    case = Case(
        id="a/train/0", images=(), question="Which?", context="Findings:\nA. nodule\nB. mass",
        answer="yes", group="g", source="a", split="train",
    )  # fmt: skip
    assert letters(Rules().begin(case, []).messages) == []
    offered = case.model_copy(update={"options": ("x", "y", "z")})
    assert letters(Rules().begin(offered, []).messages) == ["A", "B", "C"]


@pytest.mark.parametrize(
    "options", [{"temperature": -1.0}, {"temperature": float("nan")}, {"top_p": 0.0},
                {"top_p": 1.1}, {"max_tokens": 0}],
)  # fmt: skip
def test_what_cannot_be_sampled_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="fix: "):
        Sampling(**options)
    assert issubclass(type(load_policy("scripted:prior")), Policy)
