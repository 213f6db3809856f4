"""Plug-ins by name: unknown ones are named with their nearest, broken ones with their fix."""

from importlib.metadata import EntryPoint
from typing import Any

import pytest

import medgym
from medgym import registry
from medgym.errors import UserError
from medgym.registry import load, names
from medgym.seeds import seed_of


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("tools", "zoom"), ("tools", "crop"), ("policies", "hf"), ("policies", "scripted"),
        ("sources", "phantom"), ("rubrics", "outcome"),
    ],
)  # fmt: skip
def test_what_ships_here_is_registered(kind: str, name: str) -> None:
    assert name in names(kind)
    assert load(kind, name) is medgym.load(kind, name)


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("tools", "zom", "unknown tool 'zom'; did you mean 'zoom'"),
        ("policies", "scriptd", "unknown policy 'scriptd'; did you mean 'scripted'"),
        ("sources", "zzz", "unknown source 'zzz'; known: "),
        ("tool", "zoom", "unknown kind of plug-in 'tool'; did you mean 'tools'"),
        ("tools", "", "unknown tool ''"),
    ],
)
def test_an_unknown_name_is_named(kind: str, name: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        load(kind, name)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("medgym.nowhere:Thing", "does not exist; fix: reinstall"),
        ("medgym.errors:Nothing", "does not exist; fix: reinstall"),
        ("nowhere.at.all:Thing", "does not exist; fix: reinstall"),
    ],
)
def test_a_plug_in_that_points_nowhere_is_named(
    monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    point = EntryPoint("lost", value, "medgym.tools")
    monkeypatch.setattr(registry, "_group", lambda kind: {"lost": point})
    with pytest.raises(UserError, match=said):
        load("tools", "lost")


def broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, body: str) -> None:
    (tmp_path / "broken_plug_in.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("broken", "broken_plug_in:Thing", "medgym.tools")
    monkeypatch.setattr(registry, "_group", lambda kind: {"broken": point})
    monkeypatch.delitem(__import__("sys").modules, "broken_plug_in", raising=False)


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    broken(monkeypatch, tmp_path, "import a_library_that_is_not_there")
    with pytest.raises(UserError, match=r"a_library_that_is_not_there.*medgym\[train\]"):
        load("tools", "broken")


def test_a_fault_inside_a_plug_in_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    broken(monkeypatch, tmp_path, "import math\nmath.nothing")
    with pytest.raises(AttributeError, match="nothing"):
        load("tools", "broken")


def test_seeds_count_parts_and_their_boundaries() -> None:
    assert seed_of("a", 1) == seed_of("a", 1)
    assert len({seed_of(*p) for p in [("ab",), ("a", "b"), ("b", "a"), (), ("",), ("", "")]}) == 6
    assert all(0 <= seed_of(i) < 2**63 for i in range(100))
    assert seed_of("\ud800")
