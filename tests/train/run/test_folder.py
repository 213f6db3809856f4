"""A run's folder: used again where it holds nothing, refused where other code would go on."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medgym import registry
from medgym.cases import open_cases, write_cases
from medgym.cli import main
from medgym.errors import UserError
from medgym.registry import entry_point
from medgym.storage.atomic import remove
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import TrajectoryStore
from medgym.train.recipe.schema import load_recipe
from medgym.train.run.fingerprint import PlugIn, fingerprints, sources
from medgym.train.run.folder import changed, open_folder, plain
from medgym.train.run.opened import Run
from medgym.train.run.stages import STAGES, plug_ins
from medgym.trajectory import ImageUse, Node, Trajectory

RECIPE = """
name = "own"
[model]
build = "tiny"
[cases]
train = "{cases}"
test = "phantom,look=radiograph,question=kind:test[:4]"
[tools]
names = ["gauge"]
[rubric]
name = "neat"
[rollout]
view_size = 64
[demonstrations]
policy = "scripted:prior"
cases = "phantom,look=radiograph,question=kind:train[20:24]"
[sft]
max_steps = 1
[grpo]
max_steps = 1
report_to = ["none"]
"""

CODE = {
    "__init__.py": "",
    "tool.py": '''
import medgym
from .lengths import millimetres

@medgym.as_tool
def gauge(first: int) -> str:
    """Measures something."""
    return millimetres(first)
''',
    "lengths.py": "from . import unit\n\ndef millimetres(n):\n    return f'{n} {unit.UNIT}'\n",
    "unit.py": "UNIT = 'mm'\n",
    "other.py": "NOTHING = 1\n",
    "table.csv": "a,b\n",
    "neat.py": "from medgym.rubric import Rubric, outcome\n\ndef neat():\n    return outcome()\n",
}


def metadata(site: Path, version: str) -> None:
    info = site / "measures-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: measures\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(
        "[medgym.tools]\ngauge = measures.tool:gauge\n[medgym.rubrics]\nneat = measures.neat:neat\n"
    )


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Another package with a tool and a rubric, installed."""
    site = tmp_path / "site"
    (site / "measures").mkdir(parents=True)
    for name, text in CODE.items():
        (site / "measures" / name).write_text(text)
    metadata(site, "1.0")
    monkeypatch.syspath_prepend(site)
    registry._group.cache_clear()
    yield site / "measures"
    registry._group.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "measures"]:
        del sys.modules[name]


@pytest.fixture
def words(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command of a run that was broken off after its base."""

    def failed(run: Run) -> None:
        run.place.finish("base", 1.0)
        run.place.cold_start.mkdir(exist_ok=True)
        raise KeyboardInterrupt

    monkeypatch.setattr("medgym.train.run.stages.train", failed)
    cases = open_cases("phantom,look=radiograph,question=kind:train[:4]")
    write_cases(cases, tmp_path / "mine.jsonl")
    (tmp_path / "own.toml").write_text(RECIPE.format(cases=tmp_path / "mine.jsonl"))
    words = ["train", str(tmp_path / "own.toml"), "--out", str(tmp_path / "run")]
    assert main(words) == 130
    return [*words, "--resume"]


def edit(path: Path) -> None:
    path.write_text(path.read_text() + "\n# changed\n")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("tool.py", "the tool gauge of measures 1.0 has changed since the run in "),
        ("unit.py", "the tool gauge of measures 1.0 has changed"),  # two imports away
        ("neat.py", "the rubric neat of measures 1.0 has changed"),
        ("table.csv", "of measures 1.0 has changed"),
        ("other.py", ""),
        ("../../mine.jsonl", "mine.jsonl has changed since the run in "),
    ],
)
def test_what_has_changed_in_code_is_named(
    file: str, said: str, words: list[str], package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = package / file
    if path.suffix == ".jsonl":
        path.resolve().write_text(path.resolve().read_text().replace("half", "part", 1) + "\n")
    else:
        edit(path)
    capsys.readouterr()
    assert main(words) == (2 if said else 130)
    error = capsys.readouterr().err
    assert said in error
    if said:
        assert "fix: put it back as it was, or begin a new run with another --out" in error
        assert error.count("\n") == 1


def test_another_version_of_a_package_is_another_plug_in(
    words: list[str], package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata(package.parent, "1.1")
    registry._group.cache_clear()
    capsys.readouterr()
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "the tool gauge, of measures 1.0 then and 1.1 now, has changed since" in said
    assert "fix: install measures 1.0, or begin a new run" in said


def test_what_only_finished_stages_used_may_change(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder.open(tmp_path / "run")
    held = run.manifest["plug_ins"]
    assert "policies scripted" in held
    held["policies scripted"]["source"] = "another"
    run.note(plug_ins=held)
    assert main(words) == 2
    (tmp_path / "run" / "stages.json").write_text('{"base": 1.0, "cold_start": 1.0}')
    assert main(words) == 130


def test_an_older_run_resumes_with_a_warning_and_so_does_one_of_other_libraries(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder.open(tmp_path / "run")
    manifest = run.manifest
    del manifest["plug_ins"]
    del manifest["recipe"]["cases"]["overlap"]  # a key that the older version did not have
    manifest["versions"]["trl"] = "1.0"
    run._write(manifest)
    capsys.readouterr()
    assert main(words) == 130
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert "was begun by an older medgym, which did not note the code of plug-ins" in first
    assert "was begun with trl 1.0 (now 1." in second


def test_medgym_s_own_count_by_the_module_and_what_it_imports_beside_it() -> None:
    def names(kind: str, name: str) -> set[str]:
        return {path.name for path in sources(entry_point(kind, name))}

    assert names("tools", "zoom") == {"zoom.py"}
    assert {"tool.py", "passages.jsonl", "search.py"} < names("tools", "retrieve")
    assert {"source.py", "modalities.py", "rng.py"} < names("sources", "phantom")
    assert names("rubrics", "outcome") == {"rubric.py"}
    assert fingerprints([PlugIn("tools", "not-there")]) == {}


def test_every_plug_in_of_a_recipe_is_noted(tmp_path: Path) -> None:
    run = Run(load_recipe("tiny")[0], tmp_path)
    used = plug_ins(run, STAGES)
    assert set(used) == {"base", "cold_start", "grpo", "judge"}
    found = fingerprints(each for stage in used.values() for each in stage)
    assert set(found) == {
        "policies scripted", "sources phantom", "scorers choice", "tools zoom", "rubrics outcome",
        "judges vqa",
    }  # fmt: skip
    assert all(each["source"] and each["package"] == "medgym" for each in found.values())


def test_the_cases_that_choose_a_checkpoint_are_noted(tmp_path: Path) -> None:
    held_out = tmp_path / "held-out.jsonl"
    write_cases(open_cases("phantom,look=radiograph,question=kind:validation[:2]"), held_out)
    recipe = load_recipe("tiny")[0]
    judge = recipe.judge.model_copy(update={"every": 2, "cases": str(held_out)})
    run = Run(recipe.model_copy(update={"judge": judge}), tmp_path)
    assert PlugIn("cases", str(held_out)) in plug_ins(run, STAGES)["grpo"]


def test_a_key_that_is_new_has_its_default_in_an_older_run() -> None:
    recipe = load_recipe("tiny")[0]
    held: Any = json.loads(json.dumps(plain(recipe)))
    del held["sight"], held["cases"]["overlap"]
    assert changed(held, plain(recipe)) == {}
    held["cases"]["order"] = "shuffled"
    assert changed(held, plain(recipe)) == {"cases.order": '"shuffled" there, "balanced" here'}


@pytest.mark.parametrize(
    "left",
    [(), ("recipe.toml",), ("recipe.toml", ".tmp-1", "images/"), ("recipe.toml", ".cold_start/")],
)
def test_a_folder_that_holds_nothing_is_used(
    left: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(*_: Any) -> None:
        raise UserError("no; fix: nothing")

    monkeypatch.setattr("medgym.train.run.stages.train", failed)
    folder = tmp_path / "run"
    folder.mkdir()
    for name in left:
        if name.endswith("/"):
            (folder / name).mkdir()
        else:
            (folder / name).write_text("")
    for seed in ("1", "2"):
        assert main(["train", "tiny", "--seed", seed, "--out", str(folder)]) == 2
        assert RunFolder.open(folder).manifest["seeds"] == {"run": int(seed)}


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_a_run_that_was_killed_before_its_manifest_begins_again(
    more: list[str], words: list[str], tmp_path: Path
) -> None:
    (tmp_path / "run" / "manifest.json").unlink()
    for path in (tmp_path / "run" / "stages.json", tmp_path / "run" / "cold_start"):
        remove(path)
    assert main([*words[:-1], *more]) == 130
    assert RunFolder.open(tmp_path / "run").manifest["status"] == "running"


def test_a_folder_that_holds_something_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("notes.txt", "recipe.toml"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text("mine")
        (folder / "images").mkdir()
        (folder / "images" / "mine.png").write_text("")
        assert main(["train", "tiny", "--out", str(folder)]) == 2
        assert "exists and is not empty" in capsys.readouterr().err
        assert (folder / name).read_text() == "mine"


def test_a_training_that_lost_images_says_so_when_it_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, text = load_recipe("tiny")
    run = RunFolder.create(tmp_path / "run", text, recipe=plain(recipe), plug_ins={})
    for store, name in (("grpo", "a" * 64), ("judge", "b" * 64)):  # which are not kept
        shown = (Node(-1, "user", "Where?", images=(ImageUse(name, 0),)),)
        episode = Trajectory("a/0", "p", 1, 0, "text", shown, reward=0.5, terms={})
        TrajectoryStore(run.path / "trajectories" / store).write([episode])
    open_folder(run.path, recipe, text, {}, resume=True)
    (said,) = capsys.readouterr().err.splitlines()
    assert f"{run.path} has lost 1 of the images that its episodes showed, such as aaaa" in said


SECRETS = """
name = "mine"  # pl4nted-key
[model]
path = "base"
[cases]
test = "phantom:test[:1]"
[rollout]
policy = "openai:http://me:pl4nted@h/v1?api_key=pl4nted#m"
chat_template_kwargs = { session_token = "pl4nted", enable_thinking = false }
[roles.attending]
policy = "openai:http://me:pl4n/ted@h/v1#m"
"""


def test_a_run_keeps_no_secret_of_its_recipe_and_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "pl4nted-key")
    (tmp_path / "mine.toml").write_text(SECRETS)
    recipe, text = load_recipe(str(tmp_path / "mine.toml"))
    folder = open_folder(tmp_path / "run", recipe, text, {})
    kept = folder.manifest["recipe"]["rollout"]
    assert kept["chat_template_kwargs"] == {"session_token": "[redacted]", "enable_thinking": False}
    assert kept["policy"] == "openai:http://h/v1?api_key=[redacted]#m"
    assert "# [redacted]" in folder.recipe
    (tmp_path / "run" / "cold_start").mkdir()
    open_folder(tmp_path / "run", recipe, text, {}, resume=True)
    for path in (tmp_path / "run").rglob("*.*"):
        assert "pl4n" not in path.read_text(), path
