"""vLLM's engine in process, for real: run where vLLM is installed, with a model made beforehand.

    python tests/serving/make_model.py FOLDER
    MEDGYM_VLLM_MODEL=FOLDER python -m pytest tests/agents/test_vllm_engine.py

The reference is transformers in the same process.
"""

import asyncio
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medgym.errors import UserError
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling, load_policy
from medgym.storage.adapters import Samplers, publish
from medgym.trajectory import validate
from tests.agents.openai.test_vllm import (
    GREEDY,
    conversations,
    expect_all_played_at_once,
    expect_equal,
    play,
    tokens,
)

MODEL = os.environ.get("MEDGYM_VLLM_MODEL")

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed"),
    pytest.mark.skipif(MODEL is None, reason="MEDGYM_VLLM_MODEL names no model"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def folder() -> Path:
    return Path(MODEL or "")


@pytest.fixture(scope="module")
def policy(folder: Path) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        # As `torchrun` starts the second of two, but the first one answers nothing: an engine that
        # looked for it would wait.
        for name, value in {
            "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9", "TORCHELASTIC_USE_AGENT_STORE": "True",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        policy = load_policy(f"vllm:{folder / 'base'}?max_model_len=2048&max_loras=4")
    yield policy
    policy.close()


def test_episodes_keep_their_tokens_and_equal_those_of_transformers(
    policy: Any, folder: Path
) -> None:
    expect_equal(play(policy, GREEDY), play(load_policy(f"hf:{folder / 'base'}"), GREEDY))


def test_seeds_fix_every_draw(policy: Any) -> None:
    sampling = Sampling(max_tokens=24)
    first = play(policy, sampling, group_size=4, seed=1)
    for each in first:
        validate(each)
    again, other = (play(policy, sampling, group_size=4, seed=seed) for seed in (1, 2))
    assert [tokens(t) for t in first] == [tokens(t) for t in again]
    assert [tokens(t) for t in first] != [tokens(t) for t in other]


def test_more_than_fit_may_begin_at_once(policy: Any) -> None:
    expect_all_played_at_once(policy)


def test_two_adapters_answer_side_by_side_as_their_own_model(
    policy: Any, folder: Path, tmp_path: Path
) -> None:
    policies, adapters, samplers = {"": policy}, {}, Samplers([policy])
    for role in ("triage", "attending"):
        version = publish(folder / "adapters" / role, tmp_path, role, 1)
        (policies[role],) = samplers.load(version)  # type: ignore[assignment]
        adapters[role] = version.path
    asked = conversations()

    async def ask(policy: Policy, conversation: tuple[Message, ...]) -> Reply:
        return await policy.act(conversation, GREEDY)

    async def ask_all() -> list[list[Reply]]:
        return await asyncio.gather(
            *(asyncio.gather(*(ask(p, c) for c in asked)) for p in policies.values())
        )

    answers = dict(zip(policies, asyncio.run(ask_all()), strict=True))
    for role, replies in answers.items():
        suffix = f"@{adapters[role]}" if role else ""
        reference = load_policy(f"hf:{folder / 'base'}{suffix}")
        for conversation, reply in zip(asked, replies, strict=True):
            assert asyncio.run(ask(reference, conversation)).token_ids == reply.token_ids
    assert len({tuple(r.logprobs for r in replies) for replies in answers.values()}) == 3
    for role, player in policies.items():
        for trajectory in play(player, Sampling(max_tokens=24)):
            validate(trajectory)
            assert trajectory.version == (f"{role}-1" if role else "")
    policy.drop_adapter("triage-1")
    policy.drop_adapter("attending-1")


def test_an_adapter_of_another_base_is_refused(policy: Any, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no adapter in"):
        policy.with_adapter("nothing-1", tmp_path)


def test_a_pause_changes_no_reply(policy: Any) -> None:
    conversation = conversations()[0]
    first = asyncio.run(policy.act(conversation, GREEDY))
    policy.pause()
    policy.resume()
    assert asyncio.run(policy.act(conversation, GREEDY)).token_ids == first.token_ids


def test_vllm_counts_devices_among_the_visible_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm import AsyncEngineArgs
    from vllm.engine import arg_utils
    from vllm.platforms.interface import Platform

    class Cuda(Platform):  # vLLM's own needs its extensions for a GPU
        device_control_env_var = "CUDA_VISIBLE_DEVICES"

    monkeypatch.setattr(arg_utils, "current_platform", Cuda)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    arguments: Any = AsyncEngineArgs(model=str(folder / "base"), device_ids=[3])
    assert arguments._resolve_device_ids() == [3]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    assert arguments._resolve_device_ids() == [7]


def test_a_reply_that_was_cut_is_continued(policy: Any) -> None:
    conversation = conversations()[0]
    cut = asyncio.run(policy.act(conversation, replace(GREEDY, max_tokens=2)))
    assert cut.cut
    assert len(cut.token_ids) == 2
