import errno
import fcntl
import json
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest

import medgym
from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.policy import load_policy
from medgym.rollout import collect
from medgym.storage.run_folder import RunFolder, commit, content
from medgym.tool import load_tools


def test_a_new_folder_says_what_was_asked_and_what_it_was_done_with(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "runs" / "a", {"seed": 3}, seeds={"run": 3})
    assert tomllib.loads(folder.recipe) == {"seed": 3}
    manifest = RunFolder.open(tmp_path / "runs" / "a").manifest
    assert manifest["status"] == "running"
    assert manifest["seeds"] == {"run": 3}
    assert manifest["medgym"] == medgym.__version__
    assert {"numpy", "pillow", "gymnasium"} <= manifest["versions"].keys()


def test_a_folder_that_holds_anything_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a", {"seed": 1})
    before = {p: p.read_bytes() for p in (tmp_path / "a").rglob("*") if p.is_file()}
    with pytest.raises(UserError, match=r"run folder .*a exists and is not empty; fix: "):
        RunFolder.create(folder.path, {"seed": 2})
    assert {p: p.read_bytes() for p in (tmp_path / "a").rglob("*") if p.is_file()} == before


def test_an_empty_folder_will_do_and_a_file_will_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    RunFolder.create(tmp_path / "empty", "")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        RunFolder.create(tmp_path / "file", "")
    with pytest.raises(UserError, match="cannot write to"):
        RunFolder.create(tmp_path / "file" / "below", "")
    assert (tmp_path / "file").read_text() == "mine"


def test_what_is_no_run_folder_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run folder"):
        RunFolder.open(tmp_path)


def test_notes_are_added_and_leave_no_other_file(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a", "")
    folder.note(step=1, answer="größer")
    folder.note(step=2)
    assert (folder.manifest["step"], folder.manifest["answer"]) == (2, "größer")
    assert sorted(p.name for p in folder.path.iterdir()) == ["manifest.json", "recipe.toml"]


def play(folder: RunFolder, seed: int = 0) -> None:
    stream = collect(
        open_cases("phantom:test[:6]"),
        load_policy("scripted:random"),
        Rules(tools=load_tools(["zoom"]), view_size=64),
        seed=seed,
        out=folder,
    )
    assert sum(1 for _ in stream) == 6
    folder.finish()


def test_what_was_played_is_kept_with_its_hash(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a", "")
    play(folder)
    manifest = folder.manifest
    assert manifest["status"] == "done"
    assert manifest["counts"] == {"trajectories": 6}
    kept = list(folder.trajectories)
    assert content(kept) == (6, manifest["content"]["trajectories"])
    for image in (image for t in kept for node in t.nodes for image in node.images):
        assert max(folder.images.get(image.sha256).size) <= 64


def test_the_same_seed_has_the_same_content_and_another_has_not(tmp_path: Path) -> None:
    folders = [RunFolder.create(tmp_path / name, "") for name in "abc"]
    for folder, seed in zip(folders, (0, 0, 1), strict=True):
        play(folder, seed)
    first, again, other = (f.manifest["content"]["trajectories"] for f in folders)
    assert first == again != other


def test_a_run_that_breaks_off_keeps_what_was_played(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a", "")
    stream = collect(
        open_cases("phantom:test[:6]"),
        load_policy("scripted:prior"),
        Rules(view_size=64),
        concurrency=2,
        out=folder,
    )
    next(stream)
    next(stream)
    stream.close()
    assert 2 <= sum(1 for _ in folder.trajectories) < 6
    assert folder.manifest["status"] == "running"


def test_a_run_that_broke_off_is_gone_on_with(tmp_path: Path) -> None:
    whole = RunFolder.create(tmp_path / "whole", "a = 1")
    play(whole)
    broken = RunFolder.create_or_resume(tmp_path / "broken", "a = 1")
    stream = collect(
        open_cases("phantom:test[:6]"),
        load_policy("scripted:random"),
        Rules(tools=load_tools(["zoom"]), view_size=64),
        concurrency=1,
        out=broken,
    )
    next(stream)
    stream.close()
    kept = sum(1 for _ in broken.trajectories)
    assert 0 < kept < 6
    again = RunFolder.create_or_resume(tmp_path / "broken", "a = 1")
    rest = collect(
        open_cases("phantom:test[:6]"),
        load_policy("scripted:random"),
        Rules(tools=load_tools(["zoom"]), view_size=64),
        out=again,
    )
    assert sum(1 for _ in rest) == 6 - kept, "nothing twice"
    again.finish()
    assert again.manifest["content"] == whole.manifest["content"]


def test_only_the_same_run_is_gone_on_with(tmp_path: Path) -> None:
    folder = RunFolder.create_or_resume(tmp_path / "a", "a = 1")
    with pytest.raises(UserError, match="another recipe; fix"):
        RunFolder.create_or_resume(folder.path, "a = 2")
    folder.finish()
    with pytest.raises(UserError, match="is done; fix"):
        RunFolder.create_or_resume(folder.path, "a = 1")


def test_only_a_checkout_has_a_commit(tmp_path: Path) -> None:
    assert commit(tmp_path) is None


def test_json_is_written_whole(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a", "")
    folder.write_json("results.json", {"a": [1]})
    assert json.loads((folder.path / "results.json").read_text()) == {"a": [1]}


def test_a_run_reads_as_objects_as_a_data_set_and_as_a_frame(tmp_path: Path) -> None:
    play(RunFolder.create(tmp_path / "a", ""))
    store = medgym.open_run(tmp_path / "a").trajectories
    ids = [t.case_id for t in store]
    assert len(store) == len(ids) == 6
    assert list(store.dataset()["case_id"]) == ids
    frame = store.frame()
    assert list(frame["case_id"]) == ids
    assert list(frame["reward"]) == [t.reward for t in store]


def test_no_run_and_no_trajectories_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no run folder"):
        medgym.open_run(tmp_path)
    empty = RunFolder.create(tmp_path / "a", "")
    for read in (empty.trajectories.frame, empty.trajectories.dataset):
        with pytest.raises(UserError, match="no trajectories in"):
            read()


def test_one_process_at_a_time_writes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    code = (
        "import sys, time\n"
        "from medgym.storage.run_folder import RunFolder\n"
        "folder = RunFolder.create_or_resume(sys.argv[1], {'seed': 1})\n"
        "print('writing', flush=True)\n"
        "time.sleep(600)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        with pytest.raises(UserError, match=r"another process is writing into .*a; fix: wait"):
            RunFolder.create_or_resume(path, {"seed": 1})
        reader = RunFolder.open(path)
        assert reader.status == reader.manifest["status"] == "running"
        with pytest.raises(UserError, match="another process is writing"):
            list(collect([], load_policy("scripted:prior"), Rules(), out=reader))
    finally:
        writer.kill()
        writer.communicate()
    assert reader.manifest["status"] == "running"
    assert reader.status == "stopped"
    folder = RunFolder.create_or_resume(path, {"seed": 1})  # the lock went with the process
    again = RunFolder.create_or_resume(path, {"seed": 1})  # this process has it
    again.note(step=1)
    assert folder.manifest["step"] == 1
    assert reader.status == "running"
    folder.finish()
    assert reader.status == "done"


def test_a_run_that_is_released_is_stopped_whoever_knows_its_lock(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "a", {"seed": 1})
    part = run.part("judged/one")
    assert run.status == part.status == "running"
    run.release()
    run.release()
    assert RunFolder.open(tmp_path / "a").status == "stopped"
    again = RunFolder.create_or_resume(tmp_path / "a", {"seed": 1})
    part.release()  # the one of before
    assert again.status == "running"


def test_to_look_whether_a_run_is_held_disturbs_no_writer(tmp_path: Path) -> None:
    path = tmp_path / "a"
    RunFolder.create(path, {"seed": 1})
    with (path / "recipe.toml").open() as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)  # as a reader that looks, for a moment
        threading.Timer(0.03, lambda: fcntl.flock(stream, fcntl.LOCK_UN)).start()
        folder = RunFolder.create_or_resume(path, {"seed": 1})
    assert folder.status == "running"


def test_without_locks_the_manifest_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    RunFolder.create(tmp_path / "a", {"seed": 1})
    assert RunFolder.open(tmp_path / "a").status == "stopped"
    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert RunFolder.open(tmp_path / "a").status == "running"


def test_the_lock_goes_with_the_last_who_holds_it(tmp_path: Path) -> None:
    def is_free() -> bool:
        with (path / "recipe.toml").open("r+") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    path = tmp_path / "a"
    folder = RunFolder.create(path, {"seed": 1})
    again = RunFolder.create_or_resume(path, {"seed": 1})
    assert not is_free()
    folder.finish()
    assert not is_free()
    del again
    assert is_free()


def test_a_folder_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write to .*recipe.toml"):
        RunFolder(tmp_path).claim()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("seed = 1\ncases = 'x'\n", "the same cases, seed as"),
        ("# a comment\nseed=0  # and another layout\n", None),
        ("seed = [", "the same text as"),
    ],
)
def test_another_recipe_is_told_by_its_keys(tmp_path: Path, asked: str, said: str | None) -> None:
    RunFolder.create(tmp_path / "run", "seed = 0\n")
    if said is None:
        RunFolder.create_or_resume(tmp_path / "run", asked)
        return
    with pytest.raises(UserError, match=said):
        RunFolder.create_or_resume(tmp_path / "run", asked)
