"""`medgym new`: what it writes installs, is found by its name, and passes its own tests."""

import json
import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from medgym.cli import main
from medgym.commands.new import KINDS


def test_every_kind_is_found_and_passes_its_own_tests(tmp_path: Path) -> None:
    for kind in KINDS:
        folder = tmp_path / f"my-{kind}"
        assert main(["new", kind, f"my-{kind}", "--out", str(folder)]) == 0
        _register(folder, tmp_path)
    code = (
        "import sys, pytest; from medgym.cli import main; main(['list', '--json'])\n"
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', *sys.argv[1:]]))"
    )
    tests = [str(tmp_path / f"my-{kind}" / f"test_my_{kind}.py") for kind in KINDS]
    done = subprocess.run(
        [sys.executable, "-c", code, *tests],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    listed = json.JSONDecoder().raw_decode(done.stdout)[0]
    for kind, made in KINDS.items():
        assert f"my-{kind}" in listed[made.kinds]


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_that_tries_it_takes_its_options(kind: str) -> None:
    _, *arguments = shlex.split(KINDS[kind].use.replace("$name", "mine"))
    assert main([*arguments, "--help"]) == 0  # options are read before help is given


def _register(folder: Path, site: Path) -> None:
    """Do what an installation does: the module beside the metadata that pyproject.toml asks for."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    about = project["project"]
    (module,) = project["tool"]["setuptools"]["py-modules"]
    (site / f"{module}.py").write_text((folder / f"{module}.py").read_text())
    ((group, points),) = about["entry-points"].items()
    ((name, value),) = points.items()
    made = site / f"{module}-{about['version']}.dist-info"
    made.mkdir()
    (made / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    )
    (made / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tools", "contrast"), "unknown kind of plug-in 'tools'; did you mean 'tool'?"),
        (("tool", "Contrast"), "is no name of a plug-in"),
        (("tool", "../contrast"), "is no name of a plug-in"),
        (("tool", "a" * 41), "is no name of a plug-in"),
        (("tool", "-a"), "is no name|No such option"),
        (("tool", "class"), "a word of Python's own"),
        (("policy", "json"), "a word of Python's own"),
        (("rubric", "setup"), "a word of Python's own"),
        (("tool", "zoom"), "registered in medgym.tools already"),
        (("source", "numpy"), "'numpy' is installed already"),
    ],
)
def test_a_name_that_cannot_be(
    arguments: tuple[str, str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", *arguments]) == 2
    error = capsys.readouterr().err
    assert any(each in error for each in said.split("|"))
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "kept"
    kept.write_text("mine")
    for folder in (tmp_path, kept):
        assert main(["new", "tool", "contrast", "--out", str(folder)]) == 2
        assert "is there already; fix: choose another folder" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]
    assert kept.read_text() == "mine"
