"""Plug-ins by name: unknown ones are named with their nearest, broken ones with their fix."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

import medgym
from medgym import registry
from medgym.errors import RunError, UserError
from medgym.registry import KINDS, load, names, singular
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
    monkeypatch.setattr(registry, "_group", lambda kind: {"lost": (point,)})
    with pytest.raises(UserError, match=said):
        load("tools", "lost")


def broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, body: str) -> None:
    (tmp_path / "broken_plug_in.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("broken", "broken_plug_in:Thing", "medgym.tools")
    monkeypatch.setattr(registry, "_group", lambda kind: {"broken": (point,)})
    monkeypatch.delitem(__import__("sys").modules, "broken_plug_in", raising=False)


def test_a_plug_in_s_missing_library_is_named_by_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Also where it is one that an extra of medgym's would bring: it is the plug-in's own."""
    for library in ("a_library_that_is_not_there", "trl"):
        monkeypatch.setitem(sys.modules, library, None)
        broken(monkeypatch, tmp_path, f"import {library}")
        with pytest.raises(UserError) as caught:
            load("tools", "broken")
        assert str(caught.value) == f"{library} is not installed; fix: pip install {library}"


def test_a_plug_in_that_imports_what_moved_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for line in ("import medgym.nowhere", "from medgym.errors import nothing"):
        broken(monkeypatch, tmp_path, line)
        with pytest.raises(UserError, match=r"nowhere|nothing") as caught:
            load("tools", "broken")
        assert "; fix: install another version of medgym or of what imports it" in str(caught.value)
        assert "\n" not in str(caught.value)


def package(folder: Path, name: str, value: str) -> None:
    """An installed package that registers a tool called `shared`."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[medgym.tools]\nshared = {value}\n{name} = {value}\n")


def test_two_packages_of_one_name_are_both_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("zebra", "aardvark"):
        package(tmp_path, name, "medgym.tools.zoom:Zoom")
    monkeypatch.syspath_prepend(tmp_path)
    registry._group.cache_clear()
    try:
        assert {"shared", "zebra", "aardvark", "zoom"} <= set(names("tools"))
        assert load("tools", "zebra") is load("tools", "zoom")
        with pytest.raises(UserError) as caught:
            load("tools", "shared")
    finally:
        registry._group.cache_clear()
    assert str(caught.value) == (
        "the tool 'shared' is registered by aardvark and by zebra; fix: uninstall one of them, or "
        "have it register another name"
    )


def test_each_kind_has_a_singular() -> None:
    assert [singular(kind) for kind in KINDS] == [
        "tool", "tool source", "policy", "role", "source", "rubric", "scorer", "judge", "suite",
        "recipe", "model", "local model", "pair builder", "command",
    ]  # fmt: skip


def test_a_fault_inside_a_plug_in_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    broken(monkeypatch, tmp_path, "import math\nmath.nothing")
    with pytest.raises(RunError, match=r"'broken' cannot be loaded \(Attr.*fix: correct broken_pl"):
        load("tools", "broken")


def test_a_plug_in_that_ends_the_process_when_it_is_imported_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for body in ("raise SystemExit(3)", "raise KeyboardInterrupt", "raise GeneratorExit"):
        broken(monkeypatch, tmp_path, body)
        with pytest.raises(RunError, match="the tool 'broken' cannot be loaded"):
            load("tools", "broken")


def test_seeds_count_parts_and_their_boundaries() -> None:
    assert seed_of("a", 1) == seed_of("a", 1)
    assert len({seed_of(*p) for p in [("ab",), ("a", "b"), ("b", "a"), (), ("",), ("", "")]}) == 6
    assert all(0 <= seed_of(i) < 2**63 for i in range(100))
    assert seed_of("\ud800")
