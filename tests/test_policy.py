"""What a spec of a policy names, and what every policy says of itself."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from medgym.errors import UserError
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling, load_policy
from medgym.spec import split_spec, write_spec


@pytest.mark.parametrize("spec", ["hf:org/model@", "openai:http://h/v1#base@"])
def test_an_at_with_nothing_after_it_is_one_line(spec: str) -> None:
    with pytest.raises(UserError, match="names no adapter; fix: "):
        load_policy(spec)


def test_a_policy_that_is_built_in_code_needs_no_spec_and_says_so() -> None:
    class Silent(Policy):
        async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
            return Reply("")

    Silent().check_spec("anything", None)
    with pytest.raises(
        UserError, match=r"^the policy Silent can only be built in .*; fix: "
    ) as caught:
        Silent.from_spec("anything", None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", ["scripted:oracle", "scripted:random", "human"])
def test_a_policy_without_tokens_plays_and_says_that_it_does_not_train(spec: str) -> None:
    policy = load_policy(spec)
    asyncio.run(policy.check())
    assert not policy.trains
    with pytest.raises(UserError, match=rf"^{spec} can play, but not train: .*; fix: ") as caught:
        policy.require_training()
    assert "\n" not in str(caught.value)


def test_a_model_in_process_trains(tiny_folder: Path) -> None:
    policy = load_policy(f"hf:{tiny_folder}")
    asyncio.run(policy.check())
    policy.require_training()
    assert policy.trains


def test_demonstrations_are_not_samples(tiny_folder: Path) -> None:
    model = load_policy(f"hf:{tiny_folder}")
    shown: Policy = model.imitating(load_policy("scripted:oracle"))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="can play, but not train"):
        shown.require_training()


def test_a_model_whose_folder_holds_an_at_is_named_by_what_writes_its_spec(
    tiny_folder: Path, tmp_path: Path
) -> None:
    home = tmp_path / "me@corp"
    home.mkdir()
    (home / "base").symlink_to(tiny_folder)
    spec = write_spec("hf", str(home / "base"))
    policy = load_policy(spec)
    assert policy.spec == spec
    voting: Policy = load_policy(f"majority:3:{spec}").policy  # type: ignore[attr-defined]
    assert split_spec(voting.spec) == ("hf", str(home / "base"), None)
    with pytest.raises(UserError, match="no such model folder"):
        load_policy(f"hf:{home / 'base'}")
