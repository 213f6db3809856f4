"""The command `medgym rollout` closes the policy that it loads."""

from pathlib import Path

import pytest

from medgym.cli import main
from medgym.policy import Policy, load_policy


def test_a_policy_is_closed_where_the_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, closed = load_policy("scripted:prior"), list[str]()
    monkeypatch.setattr(policy, "close", lambda: closed.append(policy.spec))

    def named(spec: str, backend: str) -> Policy:
        return policy

    monkeypatch.setattr("medgym.commands.rollout.named", named)
    (tmp_path / "mine").write_text("precious")
    words = ["rollout", "phantom:test[:1]", "--policy", "scripted:prior", "--out", str(tmp_path)]
    assert main(words) == 2
    assert closed == ["scripted:prior"]
