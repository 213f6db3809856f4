"""`medgym list`: what is registered, with a line each, and what does not load with the reason."""

import json
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest

from medgym.cli import main
from medgym.commands import list as listing
from medgym.commands.purpose import missing_library, purpose
from medgym.registry import names

Capture = pytest.CaptureFixture[str]


def point(name: str, value: str, kind: str = "tools", package: str = "other") -> EntryPoint:
    """An entry point as an installed package of that name would have it."""
    made = EntryPoint(name, value, f"medgym.{kind}")
    vars(made).update(dist=SimpleNamespace(name=package))
    return made


@pytest.mark.parametrize("kind", listing.LISTED)
def test_each_name_has_a_line(kind: str, capsys: Capture) -> None:
    assert main(["list", kind, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == sorted(names(kind))
    for row in rows:
        assert row["about"], row
        assert row["fault"] is None
    assert main(["list", kind]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == max(len(rows), 1)


def test_all_kinds_are_named(capsys: Capture) -> None:
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sources"] == list(names("sources"))
    assert {"phantom", "table", "vqa-rad"} <= set(names("sources"))
    assert main(["list", "tols"]) == 2
    assert "unknown kind of plug-in 'tols'; did you mean 'tools'?" in capsys.readouterr().err


def test_what_ships_is_not_imported_for_its_line() -> None:
    heavy = EntryPoint("hf", "medgym.agents.hf.policy:HFPolicy", "medgym.policies")
    before = "medgym.agents.hf.policy" in sys.modules
    assert purpose(heavy).endswith(".")
    assert ("medgym.agents.hf.policy" in sys.modules) is before


def test_what_does_not_load_is_listed_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "faulty.py").write_text(
        '"""Broken."""\n\n\ndef sharpen() -> str:\n    """Sharpens.\n\n    More."""\n\n\n1 / 0\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = [
        point("sharpen", "faulty:sharpen"),
        point("gone", "nowhere_at_all:x"),
        point("zoom", "medgym.tools.zoom:Zoom", package="medgym"),
        point("zoom", "medgym.tools.crop:Crop"),
    ]
    monkeypatch.setattr(listing, "entry_points", lambda group: found)
    assert main(["list", "tools"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["gone", "sharpen", "zoom", "zoom"]
    assert "[other] does not load: " in lines[0]
    assert "nowhere_at_all" in lines[0]
    said = lines[1].split(maxsplit=1)[1]
    assert said.startswith("Sharpens. [other] does not load: ")
    assert "division by zero" in said
    assert lines[2].endswith("does not load: also registered by other")
    assert lines[3].endswith("[other] does not load: also registered by medgym")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text("import os\nimport no_such_library.part\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert missing_library(point("x", "needy:x")) == "no_such_library"
    assert missing_library(point("x", "medgym.tools.zoom:Zoom")) is None
