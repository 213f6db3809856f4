"""A GPU that has memory for few replies at once answers few, and loses none."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch

from medgym.agents.hf.policy import HFPolicy
from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.gpu_memory import GpuMemoryError
from medgym.policy import Sampling, load_policy
from medgym.rollout import Tally, collect
from medgym.tool import load_tools
from medgym.trajectory import Trajectory
from tests.test_gpu_memory import SAID

RULES = Rules(tools=load_tools(["zoom"]), view_size=64, max_turns=2)


@pytest.fixture
def limited(tiny_folder: Path) -> Callable[..., HFPolicy]:
    """A policy whose model finds no memory for more than some rows at once, at first or later."""

    def make(rows: int, *, after: int = 0, **options: Any) -> HFPolicy:
        left = after
        loaded = load_policy(f"hf:{tiny_folder}")
        assert isinstance(loaded, HFPolicy)
        policy = HFPolicy(loaded.model, loaded.processor, **options)
        policy._found_runner()  # which tries two rows, as any GPU has room for

        def check(module: Any, args: Any, kwargs: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0 and kwargs["input_ids"].shape[0] > rows:
                raise torch.OutOfMemoryError(SAID)

        policy.model.register_forward_pre_hook(check, with_kwargs=True)
        return policy

    return make


def played(policy: HFPolicy, **options: Any) -> list[Trajectory]:
    cases, short = open_cases("phantom:train[:5]"), Sampling(max_tokens=8)
    return list(collect(cases, policy, RULES, sampling=short, ordered=True, **options))


def said(trajectories: list[Trajectory]) -> list[Any]:
    return [[node.token_ids for node in each.nodes] for each in trajectories]


def test_fewer_are_answered_at_once_and_say_the_same(
    limited: Callable[..., HFPolicy], caplog: pytest.LogCaptureFixture
) -> None:
    wanted = said(played(limited(99)))
    with caplog.at_level(logging.WARNING, logger="medgym"):
        found = played(limited(1))
    assert said(found) == wanted
    assert "the GPU has no memory for 5 replies at once; from now on it answers 2" in caplog.text
    assert "from now on it answers 1" in caplog.text


@pytest.mark.parametrize("after", [3, 6])
def test_what_was_sampled_before_is_sampled_again(
    limited: Callable[..., HFPolicy], after: int, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = said(played(limited(99)))
    with caplog.at_level(logging.WARNING, logger="medgym"):
        assert said(played(limited(1, after=after))) == wanted
    assert "from now on it answers 1" in caplog.text


def test_a_request_that_finds_no_memory_alone_fails_by_itself_and_at_once(
    limited: Callable[..., HFPolicy],
) -> None:
    tallies: list[Tally] = []
    found = played(limited(0), on_failure=tallies.append)
    assert [each.failure is None for each in found] == [False] * 5
    assert {str(each.failure).partition(":")[0] for each in found} == {"policy"}
    assert all("no memory left: 1.50 GiB more were asked for" in str(t.failure) for t in found)
    assert tallies[-1].failures["policy"] == 5, "no other try can help"


def test_training_ends_since_its_batches_may_not_depend_on_free_memory(
    limited: Callable[..., HFPolicy],
) -> None:
    with pytest.raises(GpuMemoryError, match=r"no memory left: 1\.50 GiB .*; fix: "):
        played(limited(1, patience=None))
