"""What is damaged in a run is found, set aside, and played again to the same content."""

import fcntl
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image
from safetensors.numpy import save_file

from medgym.cli import main
from medgym.errors import UserError
from medgym.evals.viewer.data import stores_of
from medgym.storage.adapters import publish
from medgym.storage.check.run import check_run, find
from medgym.storage.layout import Place
from medgym.storage.parts import Part
from medgym.storage.run_folder import RunFolder
from medgym.storage.shown_images import require_images
from medgym.storage.trajectories import TrajectoryStore
from medgym.trajectory import Trajectory

COMMAND = ["rollout", "phantom:test[:4]", "--policy", "scripted:random", "--group-size", "2"]
COMMAND += ["--view-size", "64"]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of eight episodes in two parts."""
    run = tmp_path_factory.mktemp("stored") / "run"
    assert main([*COMMAND, "--out", str(run)]) == 0
    store = TrajectoryStore(run / "trajectories")
    episodes = list(store)
    store.write(episodes[:4], number=0)
    store.write(episodes[4:], number=1)
    return run


@pytest.fixture
def run(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "run"))


def failed(run: Path) -> list[str]:
    return [row.check for row in check_run(find(run)).rows if row.verdict == "fail"]


def flip(path: Path, place: int = -9) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


def second(run: Path) -> Path:
    return TrajectoryStore(run / "trajectories").parts()[1]


def an_image(run: Path) -> Path:
    return min((run / "images").rglob("*.png"))


def flip_part(run: Path) -> None:
    flip(second(run))


def cut_part(run: Path) -> None:
    second(run).write_bytes(second(run).read_bytes()[:100])


def lose_part(run: Path) -> None:
    second(run).unlink()


def empty_part(run: Path) -> None:
    second(run).write_bytes(b"")


def dangling_part(run: Path) -> None:
    (path := second(run)).unlink()
    path.symlink_to("nowhere")


def double_episodes(run: Path) -> None:
    store = TrajectoryStore(run / "trajectories")
    store.write(list(store)[:1])


def break_invariant(run: Path) -> None:
    store = TrajectoryStore(run / "trajectories")
    first, *others = list(store)[4:]
    store.write([replace(first, failure="tool: it broke", reward=1.0), *others], number=1)


def lose_image(run: Path) -> None:
    an_image(run).unlink()


def empty_image(run: Path) -> None:
    an_image(run).write_bytes(b"")


def dangling_image(run: Path) -> None:
    (path := an_image(run)).unlink()
    path.symlink_to("nowhere")


def exchange_image(run: Path) -> None:
    Image.new("RGB", (3, 3)).save(an_image(run))


def cut_manifest(run: Path) -> None:
    path = run / "manifest.json"
    path.write_bytes(path.read_bytes()[:-30])


def rewrite_old_part(run: Path) -> None:
    """As an older medgym would have left it: without a hash, and since then damaged."""
    table = Part(second(run)).table()
    answers = ["another"] * table.num_rows
    place = table.schema.get_field_index("answer")
    changed = table.set_column(place, table.schema.field("answer"), [answers])
    pyarrow.parquet.write_table(changed, second(run))


DAMAGES: list[tuple[Callable[[Path], None], set[str]]] = [
    (flip_part, {"parts", "content"}),
    (cut_part, {"parts", "content"}),
    (empty_part, {"parts", "content"}),
    (dangling_part, {"parts", "content"}),
    (lose_part, {"content"}),
    (double_episodes, {"episodes", "content"}),
    (break_invariant, {"invariants", "content"}),
    (lose_image, {"images"}),
    (empty_image, {"images"}),
    (dangling_image, {"images"}),
    (exchange_image, {"images"}),
    (cut_manifest, {"manifest", "files"}),
    (rewrite_old_part, {"content"}),
]


def files(folder: Path) -> set[bytes]:
    """The contents of all files in a folder."""
    return {path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_is_whole_passes(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(run)
    assert main(["check", "run", str(run)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].removeprefix("pass  ") for line in said] == [
        "manifest", "recipe", "parts", "invariants", "content", "images", "files",
    ]  # fmt: skip
    assert main(["check", "run", str(run), "--repair"]) == 0
    assert files(run) == before
    assert not (run / "set-aside").exists()


@pytest.mark.parametrize(("damage", "checks"), DAMAGES, ids=[d.__name__ for d, _ in DAMAGES])
def test_a_damaged_rollout_is_repaired_and_played_again(
    run: Path,
    damage: Callable[[Path], None],
    checks: set[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    written = RunFolder(run).manifest["content"]
    damage(run)
    before = files(run)
    assert set(failed(run)) == checks
    assert main(["check", "run", str(run)]) == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith(f"medgym: {run} is damaged, the first: ")
    assert main(["check", "run", str(run), "--repair"]) == 0
    # Nothing was deleted but the manifest, which says more now.
    assert len(before - files(run)) <= 1
    out = capsys.readouterr().out.splitlines()
    assert out[-1].startswith("do  run the command again that made it; it plays what is missing")
    assert "medgym rollout 'phantom:test[:4]' --policy scripted:random --group-size 2" in out[-1]
    assert out[-1].endswith(f"--out {run}")
    assert main([*COMMAND, "--out", str(run)]) == 0
    assert failed(run) == []
    assert RunFolder(run).manifest["content"] == written
    assert list(stores_of(RunFolder(run))) == ["trajectories"]  # and not what was set aside


@pytest.mark.parametrize("damage", [lose_image, empty_image, dangling_image])
def test_a_run_that_lost_an_image_is_not_resumed(
    run: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    RunFolder(run).note(status="running")
    damage(run)
    assert main([*COMMAND, "--out", str(run)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert f"{run} has lost 1 of the images that its episodes showed, such as " in said
    assert said.endswith(f"fix: restore its images/, or medgym check run {run} --repair")


def test_a_run_that_holds_an_episode_twice_is_not_resumed(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RunFolder(run).note(status="running")
    double_episodes(run)
    assert main([*COMMAND, "--out", str(run)]) == 2
    assert " twice, and both would count; fix: " in capsys.readouterr().err


def test_what_cannot_be_played_again_is_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The recipe: nothing says any more what was asked."""
    (run / "recipe.toml").write_text("a = ")
    assert failed(run) == ["recipe", "files"]
    assert main(["check", "run", str(run), "--repair"]) == 1
    captured = capsys.readouterr()
    assert "left  recipe.toml: " in captured.out
    assert captured.err.splitlines()[-1].endswith("fix: restore it from a copy")


def test_other_content_in_parts_that_are_whole_is_not_believed_by_playing_on(run: Path) -> None:
    store = TrajectoryStore(run / "trajectories")
    store.write([replace(each, answer="another") for each in list(store)[4:]], number=1)
    assert failed(run) == ["content"]
    assert main(["check", "run", str(run), "--repair"]) == 1
    assert RunFolder(run).manifest["status"] == "done"


def test_a_run_that_is_being_written_is_checked_and_not_repaired(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip_part(run)
    with (run / "recipe.toml").open("r+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert main(["check", "run", str(run)]) == 1
        assert main(["check", "run", str(run), "--repair"]) == 2
    assert "another process is writing into" in capsys.readouterr().err
    assert not (run / "set-aside").exists()


def test_a_second_repair_keeps_what_the_first_set_aside(run: Path) -> None:
    for _ in range(2):
        flip_part(run)
        assert main(["check", "run", str(run), "--repair"]) == 0
        assert main([*COMMAND, "--out", str(run)]) == 0
        store = TrajectoryStore(run / "trajectories")
        assert len(store.parts()) == 2
    assert len(list((run / "set-aside" / "trajectories").iterdir())) == 2
    assert len(RunFolder(run).manifest["repaired"]) == 2


@pytest.mark.parametrize("damage", [flip_part, cut_manifest])
def test_no_link_leads_a_repair_elsewhere(
    run: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(run)
    (tmp_path / "elsewhere").mkdir()
    (run / "set-aside").symlink_to(tmp_path / "elsewhere")
    assert main(["check", "run", str(run), "--repair"]) == 2
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert second(run).exists()


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        assert main(["check", "run", str(folder)]) == 2
        assert "is no run folder" in capsys.readouterr().err


def test_the_report_is_also_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip_part(run)
    assert main(["check", "run", str(run), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["whole"]
    assert {"check", "verdict", "figure"} == found["checks"][0].keys()


def test_an_evaluation_judges_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run.with_name("judged")
    asked = ["eval", "phantom:test[:3]", "--policy", "scripted:random", "--view-size", "64"]
    assert main([*asked, "--out", str(out)]) == 0
    assert failed(out) == []
    flip(TrajectoryStore(out / "trajectories").parts()[0])
    (out / "results.json").write_text("[]")
    assert failed(out) == ["parts", "content", "results"]
    capsys.readouterr()
    assert main(["check", "run", str(out), "--repair"]) == 0
    assert "do  run the command again that made it; it judges again" in capsys.readouterr().out
    assert main([*asked, "--out", str(out)]) == 0
    assert failed(out) == []


EVAL = ["eval", "phantom:test[:3]", "--policy", "scripted:oracle", "--view-size", "64"]


def test_an_evaluation_that_lost_an_image_is_judged_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main([*EVAL, "--out", str(run)]) == 0
    an_image(run).unlink()
    assert main(["check", "run", str(run), "--repair"]) == 0
    assert main([*EVAL, "--out", str(run)]) == 0
    assert main(["check", "run", str(run)]) == 0


def test_a_lost_part_of_a_judging_is_noticed(tmp_path: Path, run: Path) -> None:
    """As of a suite or a training, whose episodes are in `judged/`."""
    folder = RunFolder.create(tmp_path / "judging", {"command": "eval"})
    for name in ("one", "two"):
        shutil.copytree(run / "trajectories", folder.path / "judged" / name)
    shutil.copytree(run / "images", folder.path / "images")
    folder.finish()
    assert failed(folder.path) == []
    (folder.path / "judged" / "two" / "part-00001.parquet").unlink()
    assert failed(folder.path) == ["content"]
    assert main(["check", "run", str(folder.path), "--repair"]) == 0
    assert folder.manifest["status"] == "running"
    an_image(folder.path).unlink()
    with pytest.raises(UserError, match="has lost 1 of the images"):
        require_images(folder.path)


def test_a_repair_that_finds_no_manifest_to_note_itself_in_still_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main([*EVAL, "--out", str(run)]) == 0
    (run / "manifest.json").write_text("garbage")
    flip(run / "trajectories/part-00000.parquet")
    capsys.readouterr()
    assert main(["check", "run", str(run), "--repair"]) == 1
    said = capsys.readouterr().out
    assert "set aside  trajectories/part-00000.parquet" in said
    assert "with another --out; the manifest is lost" in said


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """The folder of a training, with what such a folder holds."""
    folder = tmp_path / "training"
    run = RunFolder.create(folder, "name = 'small'\n", recipe={"name": "small"})
    place = Place(folder)
    for stage in ("cold_start", "grpo", "judge"):
        place.finish(stage, 1.0)
    episode = Trajectory("a/0", "p", 1, 0, "text", (), reward=0.5, terms={})
    for path in (place.rollouts, place.evaluations, place.judged("grpo")):
        TrajectoryStore(path).write([episode], number=4)
    weights: dict[str, Any] = {"layers.0.weight": np.ones((4, 4), np.float32)}
    for path in (place.cold_start, place.checkpoints / "checkpoint-4", tmp_path / "lora"):
        path.mkdir(parents=True)
        save_file(weights, path / "adapter_model.safetensors")
        (path / "adapter_config.json").write_text("{}")
    with zipfile.ZipFile(place.checkpoints / "checkpoint-4" / "optimizer.pt", "w") as archive:
        archive.writestr("data/0", bytes(range(256)))
    publish(tmp_path / "lora", folder, "policy", 4)
    place.metrics.write_text('{"step": 1}\n{"st')  # as a killed process leaves it
    run.write_json("results.json", {"format": 1, "policies": {}})
    run.finish()
    assert failed(folder) == []
    return folder


@pytest.mark.parametrize(
    ("name", "place", "status", "again"),
    [
        ("judged/grpo/part-00004.parquet", 40, 0, "with --resume; it judges again"),
        ("results.json", 0, 0, "with --resume; it judges again"),
        ("trajectories/grpo/part-00004.parquet", 40, 0, "nothing plays the episodes of training"),
        ("checkpoints/checkpoint-4/optimizer.pt", 60, 0, "from the checkpoint before"),
        ("checkpoints/checkpoint-4/adapter_model.safetensors", 0, 0, "from the checkpoint before"),
        ("cold_start/adapter_model.safetensors", 0, 1, "left"),
        ("adapters/policy/4/adapter_model.safetensors", -1, 0, "it publishes the adapter of its"),
        ("stages.json", 0, 1, "left"),
        ("metrics.jsonl", 0, 1, "left"),
    ],
)
def test_each_file_of_a_training_is_looked_at(
    training: Path,
    name: str,
    place: int,
    status: int,
    again: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flip(training / name, place)
    assert main(["check", "run", str(training)]) == 1
    assert Path(name).name in capsys.readouterr().out
    assert main(["check", "run", str(training), "--repair"]) == status
    assert again in capsys.readouterr().out
    stages = () if name == "stages.json" else Place(training).stages()
    opened = ("judged", "results", "adapters", "stages")
    assert ("judge" in stages) == (not name.startswith(opened))
    assert ("grpo" in stages) == (not name.startswith(opened[2:]))
    assert ((training / name).exists()) == (status == 1)
