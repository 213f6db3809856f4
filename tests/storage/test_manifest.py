"""A manifest that is damaged or of something else is one line, in every command that reads it."""

import json
from pathlib import Path
from typing import Any

import pytest

from medgym.cli import main
from medgym.errors import UserError
from medgym.storage.manifest import FORMAT, read_manifest
from medgym.storage.run_folder import RunFolder

WHOLE = {"format": FORMAT, "status": "running"}
MANIFESTS: dict[str, bytes] = {
    "empty": b"",
    "cut": json.dumps(WHOLE).encode()[:-4],
    "no UTF-8": b'{"status": "\xff"}',
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "of a web page": b'{"name": "shop", "icons": []}',
    "wrong types": json.dumps(WHOLE | {"failed": 3}).encode(),
    "newer": json.dumps(WHOLE | {"format": FORMAT + 1}).encode(),
}
COMMANDS: dict[str, list[str]] = {
    "view": ["view", "RUN"],
    "rollout": ["rollout", "phantom:test[:1]", "--policy", "scripted:prior", "--out", "RUN"],
    "play": ["play", "phantom:test[:1]", "--policy", "consultation:RUN"],
}


def made(folder: Path, manifest: bytes, recipe: bytes = b"") -> Path:
    folder.mkdir()
    (folder / "manifest.json").write_bytes(manifest)
    (folder / "recipe.toml").write_bytes(recipe)
    return folder


def line(command: list[str], run: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command ends that cannot read the run."""
    assert main([word.replace("RUN", str(run)) for word in command]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    return said


@pytest.mark.parametrize("manifest", MANIFESTS.values(), ids=MANIFESTS.keys())
def test_a_damaged_manifest_is_one_line(tmp_path: Path, manifest: bytes) -> None:
    with pytest.raises(UserError, match=r"run/manifest\.json.*; fix: [^\n]+$"):
        read_manifest(made(tmp_path / "run", manifest))


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_every_command_says_it(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for number, manifest in enumerate((MANIFESTS["cut"], MANIFESTS["of a web page"])):
        run = made(tmp_path / str(number), manifest)
        if command[0] == "view":  # which first looks for episodes
            (run / "part-00000.parquet").write_bytes(b"")
        assert f"{run}/" in line(command, run, capsys)


@pytest.mark.parametrize("recipe", [b'a = "\xff"', b"a = ", None])
def test_a_damaged_recipe_is_one_line(
    tmp_path: Path, recipe: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(tmp_path / "run", json.dumps(WHOLE).encode(), recipe or b"")
    if recipe is None:
        (run / "recipe.toml").unlink()
    assert f"{run / 'recipe.toml'}" in line(COMMANDS["rollout"], run, capsys)
    with pytest.raises(UserError, match=r"recipe\.toml.*; fix: "):
        _ = RunFolder(run).asked


def test_what_a_manifest_may_lack(tmp_path: Path) -> None:
    for number, more in enumerate(({}, {"recipe": None}, {"format": 1})):
        whole: dict[str, Any] = {"status": "done"} | more
        assert read_manifest(made(tmp_path / str(number), json.dumps(whole).encode())) == whole
