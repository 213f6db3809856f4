"""The store: each content once, whole files or none, and what is read is what was written."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medgym.errors import UserError
from medgym.messages import ImagePart
from medgym.storage.atomic import write_atomic
from medgym.storage.trajectories import ImageStore, TrajectoryStore, save
from medgym.trajectory import Branch, ImageUse, Look, Node, Trajectory

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ids = st.lists(st.integers(0, 2**31 - 1), max_size=5).map(tuple)
reals = st.floats(allow_nan=False, allow_infinity=False)
uses = st.builds(ImageUse, text, st.integers(0, 9), st.integers(0, 999))
nodes = st.builds(
    Node,
    parent=st.integers(-1, 5),
    role=st.sampled_from(["user", "assistant", "tool"]),
    text=text,
    token_ids=ids,
    loss_mask=st.lists(st.integers(0, 1), max_size=5).map(tuple),
    logprobs=st.lists(reals, max_size=5).map(tuple),
    images=st.lists(uses, max_size=2).map(tuple),
    prompt_hash=text,
)
looks = st.builds(Look, text, st.integers(0, 3), st.tuples(reals, reals, reals, reals), reals)
trajectories = st.builds(
    Trajectory,
    case_id=text,
    policy=text,
    seed=st.integers(0, 2**63 - 1),
    member=st.integers(0, 99),
    kind=st.sampled_from(["sampled", "demonstration", "text"]),
    nodes=st.lists(nodes, max_size=3).map(tuple),
    vision_token_ids=ids,
    answer=st.none() | text,
    correct=st.booleans(),
    reward=st.none() | reals,
    terms=st.none() | st.dictionaries(text, reals, max_size=2),
    terminated=st.booleans(),
    truncated=st.booleans(),
    looks=st.lists(looks, max_size=2).map(tuple),
    calls=st.lists(text, max_size=2).map(tuple),
    failed_calls=st.integers(0, 9),
    malformed=st.integers(0, 9),
    faults=st.lists(text, max_size=2).map(tuple),
    failure=st.none() | text,
    system=text,
    question=text,
    options=st.lists(text, max_size=3).map(tuple),
    gold=st.none() | text,
)
ONE = Trajectory("a/train/0", "p", 1, 0, "text", (Node(-1, "user", "?"),), reward=0.5, terms={})


@settings(max_examples=30)
@given(st.lists(trajectories, max_size=3), st.lists(trajectories, max_size=2))
def test_trajectories_are_read_as_they_were_written(
    tmp_path_factory: Any, first: list[Trajectory], second: list[Trajectory]
) -> None:
    store = TrajectoryStore(tmp_path_factory.mktemp("store"))
    store.write(first)
    store.write(second)
    read = list(store)
    assert read == [*first, *second]
    assert all(type(a.nodes) is tuple and hash(a.nodes) == hash(b.nodes)
               for a, b in zip(read, [*first, *second], strict=True))  # fmt: skip
    assert len(store.parts()) == bool(first) + bool(second)
    assert len(store) == len(first) + len(second)


def test_parts_are_numbered_on_and_nothing_is_overwritten(tmp_path: Path) -> None:
    store = TrajectoryStore(tmp_path)
    for seed in range(12):
        TrajectoryStore(tmp_path).write([replace(ONE, seed=seed)])
    assert [part.name for part in store.parts()][-1] == "part-00011.parquet"
    assert [t.seed for t in store] == list(range(12))
    assert store.write([]) is None
    assert save([ONE, ONE], tmp_path / "run") == 2
    assert list(TrajectoryStore(tmp_path / "run" / "trajectories")) == [ONE, ONE]


class Killed(BaseException):
    """What a kill looks like from inside: nothing after it runs."""


@pytest.mark.parametrize("at", ["replace", "fsync"])
def test_a_writer_killed_before_the_rename_leaves_nothing_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    store = TrajectoryStore(tmp_path / "trajectories")
    images = ImageStore(tmp_path / "images")
    picture = ImagePart(0, Image.new("RGB", (3, 3)))
    store.write([ONE])

    def kill(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, at, kill)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # nothing after it runs
        with pytest.raises(Killed):
            store.write([ONE])
        with pytest.raises(Killed):
            images.put(picture)
    assert list(tmp_path.rglob(".tmp-*"))
    assert list(store) == [ONE]
    with pytest.raises(UserError, match="no image"):
        images.get(picture.sha256)
    store.write([ONE])
    assert images.get(images.put(picture)).size == (3, 3)
    assert list(store) == [ONE, ONE]


def test_a_write_that_fails_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_files_are_open_to_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_atomic(tmp_path / "deep" / "er" / "a", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "deep" / "er" / "a").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_image_is_written_once_and_read_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    store = ImageStore(tmp_path)
    picture = Image.effect_noise((20, 10), 50).convert(mode)
    name = store.put(ImagePart(0, picture))
    file = tmp_path / name[:2] / f"{name}.png"
    assert file.is_file()
    monkeypatch.setattr(Image.Image, "save", None)
    assert store.put(ImagePart(7, picture.copy())) == name
    read = store.get(name)
    assert (read.mode, read.size, read.tobytes()) == (mode, (20, 10), picture.tobytes())
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [file]


@pytest.mark.parametrize("damage", [b"", b"no image", None])
def test_an_image_that_is_no_longer_itself_is_refused(tmp_path: Path, damage: bytes | None) -> None:
    store = ImageStore(tmp_path)
    name = store.put(ImagePart(0, Image.new("RGB", (4, 4))))
    file = tmp_path / name[:2] / f"{name}.png"
    if damage is None:
        Image.new("RGB", (4, 4), "red").save(file)
    else:
        file.write_bytes(damage)
    with pytest.raises(UserError, match="does not hold the pixels of its name"):
        store.get(name)


def test_an_image_whose_file_is_empty_is_stored_again(tmp_path: Path) -> None:
    store, part = ImageStore(tmp_path), ImagePart(0, Image.new("RGB", (4, 4)))
    name = store.put(part)
    (file,) = tmp_path.rglob("*.png")
    file.write_bytes(b"")
    assert not store.has(name)
    assert store.names() == set()
    assert store.get(store.put(part)).size == (4, 4)
    assert store.names() == {name}


def test_an_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no image abcdef.*fix"):
        ImageStore(tmp_path).get("abcdef" * 10 + "0000")


def test_a_part_without_the_columns_of_the_case_is_read(tmp_path: Path) -> None:
    """As runs have them that were written before these columns existed; both kinds mix."""
    store = TrajectoryStore(tmp_path)
    asked = replace(ONE, member=1, system="s", question="q", options=("a", "b"), gold="a")
    store.write([ONE])
    old = pyarrow.parquet.read_table(store.parts()[0])
    old = old.drop_columns(["system", "question", "options", "gold"]).replace_schema_metadata(None)
    pyarrow.parquet.write_table(old, store.parts()[0])
    store.write([asked])
    assert list(store) == [ONE, asked]
    assert store.table()["gold"].to_pylist() == [None, "a"]
    assert store.dataset()["gold"] == [None, "a"]


def test_rows_are_read_without_the_training_libraries(tmp_path: Path) -> None:
    TrajectoryStore(tmp_path).write([replace(ONE, terms={"answer": 1.0})])
    program = f"""
import sys
from pathlib import Path
for name in ("torch", "datasets", "trl", "transformers"):
    sys.modules[name] = None
from medgym.storage.trajectories import TrajectoryStore
store = TrajectoryStore(Path({str(tmp_path)!r}))
assert store.table().num_rows == 1
assert store.frame()["terms"][0] == {{"answer": 1.0}}
sys.modules["pandas"] = None
try:
    store.frame()
except Exception as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.startswith("pandas is not installed; fix: pip install "), done
    assert "[frames]" in done.stdout


def test_a_store_says_how_many_it_holds_and_gives_them_as_tables(tmp_path: Path) -> None:
    store = TrajectoryStore(tmp_path)
    assert len(store) == 0
    store.write([replace(ONE, seed=seed) for seed in range(3)])
    store.write([replace(ONE, seed=3)])
    assert len(store) == 4
    assert store.dataset()["seed"] == [0, 1, 2, 3]
    frame = store.frame()
    assert frame["seed"].tolist() == frame.index.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("table", "library"), [("dataset", "datasets"), ("frame", "pandas")])
def test_a_table_needs_trajectories_and_its_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, library: str
) -> None:
    store = TrajectoryStore(tmp_path)
    with pytest.raises(UserError, match=rf"^no trajectories in {tmp_path}; fix: check the run"):
        getattr(store, table)()
    store.write([ONE])
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError, match=rf"{library} is not installed; fix: pip install ") as error:
        getattr(store, table)()
    assert isinstance(error.value.__cause__, ModuleNotFoundError)


def test_a_part_may_be_written_again_under_its_number(tmp_path: Path) -> None:
    store = TrajectoryStore(tmp_path)
    assert store.write([ONE], number=7) == tmp_path / "part-00007.parquet"
    store.write([replace(ONE, seed=2)], number=7)
    assert [trajectory.seed for trajectory in store] == [2]
    assert store.write([ONE]) == tmp_path / "part-00008.parquet"


@pytest.mark.parametrize("read", [list, len, TrajectoryStore.dataset])
def test_a_damaged_part_is_named(tmp_path: Path, read: Any) -> None:
    store = TrajectoryStore(tmp_path)
    store.write([ONE])
    (tmp_path / "part-00001.parquet").write_bytes(b"no parquet")
    says = r"part-00001.parquet cannot be read as trajectories \(.+\); fix: restore it, or read the"
    with pytest.raises(UserError, match=says):
        read(store)


def test_a_consultation_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = replace(ONE, nodes=(), terms={"a": 0.5}, version="2")
    branches = (Branch("triage", 0, record, seconds=1.5), Branch("attending", 0, record, 1, 2.5))
    store = TrajectoryStore(tmp_path)
    store.write([replace(ONE, branches=branches, version="3")])
    assert list(store) == [replace(ONE, branches=branches, version="3")]
