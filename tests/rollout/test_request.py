"""Strings name what `collect` takes, and an argument of another kind is refused in one line."""

from pathlib import Path
from typing import Any

import pytest

from medgym.agents.scripted.policy import Scripted
from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.policy import load_policy
from medgym.rollout import collect
from medgym.storage.run_folder import content, open_run


def test_strings_name_what_is_rolled_out(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "x"
    asked = "phantom:train[:3]", "scripted:random"
    stream = collect(*asked, seed=3, out=str(path), ordered=True)
    next(stream)
    stream.close()  # interrupted
    assert open_run(str(path)).manifest["status"] == "running"
    with pytest.raises(UserError, match="another name, or ask for the same seed as"):
        collect(*asked, seed=4, out=path)
    list(collect(*asked, seed=3, out=path))
    run = open_run(path)
    assert run.manifest["status"] == "done"
    assert len(run.trajectories) == 3
    cases = open_cases(asked[0])
    rules = Rules.for_cases(cases)
    policy = load_policy(asked[1])
    plain = list(collect(cases, policy, rules, seed=3))
    assert content(plain) == content(run.trajectories)
    with pytest.raises(UserError, match="is done; fix"):
        collect(*asked, seed=3, out=path)


def test_a_policy_that_was_named_is_closed_and_one_that_was_given_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(Scripted, "close", lambda policy: closed.append(policy.spec))
    given = load_policy("scripted:prior")
    list(collect("phantom:train[:1]", given))
    assert closed == []
    list(collect("phantom:train[:1]", "scripted:random"))
    assert closed == ["scripted:random"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("scripted:random", "phantom:train"), "cannot read the policy 'phantom:train'|unknown"),
        (("phantom:train[:1]", Rules()), "the policy is a Rules; fix: give a spec such as"),
        (("phantom:train[:1]", "scripted:random", "zoom"), "the rules are a str; fix: give medgym"),
        ((["phantom:train"], "scripted:random"), "cannot read cases from a list"),
        (("phantom:train[:1]", "scripted:radnom"), "did you mean 'random'"),
    ],
)
def test_arguments_of_another_kind_are_named(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        collect(*arguments)


def test_a_sampling_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="the sampling is a str; fix: give"):
        collect("phantom:train[:1]", "scripted:random", sampling="greedy")  # type: ignore[arg-type]
