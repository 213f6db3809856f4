"""The memory for images: a share of the machine's, or what the environment declares."""

from pathlib import Path

import pytest

from medgym import memory
from medgym.cli import main
from medgym.errors import UserError
from medgym.memory import SHARE, VARIABLE, image_memory, machine_memory, readable
from medgym.rollout import collect


def test_by_default_it_is_a_share_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert image_memory() == machine_memory() // SHARE


@pytest.mark.parametrize(
    ("declared", "size"),
    [("64MiB", 2**26), (" 1.5 kib", 1536), ("100", 100), ("2MB", 2_000_000), ("1B", 1)],
)
def test_the_environment_declares_it(
    monkeypatch: pytest.MonkeyPatch, declared: str, size: int
) -> None:
    monkeypatch.setenv(VARIABLE, declared)
    assert image_memory() == size


def test_it_is_never_more_than_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "999999TiB")
    assert image_memory() == machine_memory()


@pytest.mark.parametrize("declared", ["much", "-1GiB", "0", "8 GiB of it", "1e9", "0.1B"])
def test_what_is_no_amount_is_named(monkeypatch: pytest.MonkeyPatch, declared: str) -> None:
    monkeypatch.setenv(VARIABLE, declared)
    with pytest.raises(UserError, match=f"{VARIABLE}=.*fix: write 8GiB"):
        image_memory()


def test_a_command_refuses_it_before_any_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, "much")
    asked = ["phantom:train[:1]", "--policy", "scripted:random", "--out", str(tmp_path / "run")]
    assert main(["rollout", *asked]) == 2
    assert capsys.readouterr().err.startswith(f"medgym: {VARIABLE}='much' is no amount")
    with pytest.raises(UserError, match="is no amount"):
        collect("phantom:train[:1]", "scripted:random", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_control_group_s_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "limit").write_text(f"{2**20}\n")
    (tmp_path / "none").write_text("max\n")
    monkeypatch.setattr(memory, "_group_limits", lambda: [tmp_path / n for n in ("limit", "none")])
    assert machine_memory.__wrapped__() == 2**20


@pytest.mark.parametrize(
    ("size", "text"), [(7, "7 bytes"), (1536, "1.5 KiB"), (5 * 2**30, "5 GiB")]
)
def test_amounts_are_readable(size: int, text: str) -> None:
    assert readable(size) == text
