"""What a spec of a policy names, and what every policy says of itself."""

import asyncio
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from medgym.errors import UserError
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling, load_policy, split_adapter, with_adapter

NAMES = st.text("ab@./-_~ %", min_size=1, max_size=12)
"""Parts of paths and names, with more signs than sense."""

HOSTS = ("127.0.0.1:8000", "user:password@host", "a%40b:p@ss@host:8000", "[::1]:80")


@given(names=st.lists(NAMES, min_size=1, max_size=3), adapter=NAMES, options=st.booleans())
def test_a_model_s_folder_may_hold_any_at(names: list[str], adapter: str, options: bool) -> None:
    with tempfile.TemporaryDirectory() as home:
        path = os.path.join(home, *(name.strip("/.~ ") or "x" for name in names))
        os.makedirs(path)
        assume(not os.path.isdir(f"{path}@{adapter}"))
        asked = f"{path}?max_model_len=4096" if options else path
        assert split_adapter(asked) == (asked, None)
        for chosen in (adapter, f"{home}/runs@x/{adapter}"):  # an adapter's path may hold one too
            assert split_adapter(f"{asked}@{chosen}") == (asked, chosen)


@given(name=st.from_regex(r"\A[a-z]+(/[a-z0-9.-]+)?\Z"), adapter=NAMES)
def test_a_name_on_a_hub_holds_none(name: str, adapter: str) -> None:
    assume(not os.path.exists(name.partition("/")[0]))
    assert split_adapter(name) == (name, None)
    assert split_adapter(f"{name}@{adapter}") == (name, adapter)


@given(
    host=st.sampled_from(HOSTS),
    path=st.sampled_from(("/v1", "/@cf/v1", "/a@b/v1?processor=/data/me@x/base", "")),
    name=st.from_regex(r"\A@?[a-z]+(/[a-z0-9%.-]+)?\Z"),
    adapter=NAMES,
)
def test_in_a_url_an_adapter_stands_behind_the_model(
    host: str, path: str, name: str, adapter: str
) -> None:
    assume(not os.path.exists(name.partition("/")[0]))
    url = f"http://{host}{path}"
    assert split_adapter(url) == (url, None)
    assert split_adapter(f"{url}#{name}") == (f"{url}#{name}", None)
    assert split_adapter(f"{url}#{name}@{adapter}") == (f"{url}#{name}", adapter)


@given(st.text(max_size=40))
def test_nothing_is_lost_and_nothing_raises(rest: str) -> None:
    model, adapter = split_adapter(rest)
    assert rest == (model if adapter is None else f"{model}@{adapter}")


def test_the_longest_folder_counts(tmp_path: Path) -> None:
    """Of two users called me and me@corp, with models that are called alike."""
    for name in ("me", "me@corp/base"):
        (tmp_path / name).mkdir(parents=True)
    spec = f"{tmp_path}/me@corp/base"
    assert split_adapter(spec) == (spec, None)
    assert split_adapter(f"{spec}@{tmp_path}/me@corp/runs/3") == (
        spec,
        f"{tmp_path}/me@corp/runs/3",
    )
    assert split_adapter(f"{tmp_path}/me@lora") == (f"{tmp_path}/me", "lora")
    assert with_adapter(f"hf:{spec}", "b@c") == f"hf:{spec}@b@c"
    assert with_adapter(f"hf:{spec}@old", "new") == f"hf:{spec}@new"
    assert with_adapter("openai:http://h/v1#base@old", "new") == "openai:http://h/v1#base@new"


@pytest.mark.parametrize("spec", ["hf:org/model@", "openai:http://h/v1#base@"])
def test_an_at_with_nothing_behind_it_is_one_line(spec: str) -> None:
    with pytest.raises(UserError, match="names no adapter; fix: "):
        load_policy(spec)


def test_a_policy_that_is_built_in_code_needs_no_spec_and_says_so() -> None:
    class Silent(Policy):
        async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
            return Reply("")

    Silent().check_spec("anything", None)
    with pytest.raises(UserError, match=r"^the policy Silent is built in .*; fix: ") as caught:
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
