"""The source `hf`: data sets of the Hub, through its real client, and local copies of them."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from medgym.cases import open_cases
from medgym.errors import RunError, UserError
from medgym.imaging.study import open_study
from tests.serving.hub import Hub, client_of


def png(grey: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((3, 4), grey, np.uint8)).save(file, "PNG")
    return file.getvalue()


def cell(grey: int | None) -> dict[str, Any] | None:
    return None if grey is None else {"bytes": png(grey), "path": None}


def shard(path: Path, *greys: int | None) -> None:
    """A Parquet file as `datasets` writes it, with images in its cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"image": cell(g), "question": f"Which {g}?", "options": ["x", "y"], "answer": n % 2}
        for n, g in enumerate(greys)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=2)


@pytest.fixture
def embedded(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    shard(folder / "data" / "train-00000-of-00002.parquet", 10, 20, None)
    shard(folder / "data" / "train-00001-of-00002.parquet", 30, 10)
    shard(folder / "data" / "test-00000-of-00001.parquet", 40)
    return folder


def test_images_in_cells(embedded: Path) -> None:
    cases = open_cases(f"hf,path={embedded},gold=index:train")
    assert [case.id for case in cases] == [f"set/train/{row}" for row in (0, 1, 3, 4)]
    assert [case.answer for case in cases] == ["x", "y", "x", "y"]
    assert [open_study(case.images[0]).values("image", 0)[0, 0] for case in cases] == [
        10, 20, 30, 10,
    ]  # fmt: skip
    groups = [case.group for case in cases]
    assert groups[0] == groups[3]  # the same image, in two files
    assert len(set(groups)) == 3
    assert "it has no image (column 'image')" in cases.dropped[0][1]
    assert len(open_cases(f"hf,path={embedded},gold=index:test")) == 1


def test_several_images_in_a_cell_and_in_columns(tmp_path: Path) -> None:
    rows = [
        {"images": [cell(1), cell(2)], "image_1": cell(3), "image_2": None},
        {"images": [cell(4)], "image_1": cell(5), "image_2": cell(6)},
    ]
    said = {"question": "Is it?", "answer": "yes"}
    table = pyarrow.Table.from_pylist([{**row, **said} for row in rows])
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    for options, greys in (("", [[1, 2], [4]]), (",image=image_1+image_2", [[3], [5, 6]])):
        found = open_cases(f"hf,path={tmp_path}{options}:train")
        values = [[open_study(r).values("image", 0)[0, 0] for r in c.images] for c in found]
        assert values == greys


def test_a_folder_of_images_with_its_table(tmp_path: Path) -> None:
    for split in ("train", "test"):
        folder = tmp_path / split
        folder.mkdir()
        (folder / "a 1.png").write_bytes(png(7))
        line = {"file_name": "a 1.png", "question": "Is it?", "answer": split}
        (folder / "metadata.jsonl").write_text(json.dumps(line))
    (case,) = open_cases(f"hf,path={tmp_path}:test")
    assert (case.answer, case.images[0].uri) == ("test", (tmp_path / "test" / "a 1.png").as_uri())


PAGE = """---
configs:
- config_name: easy
  data_files:
  - {split: first, path: "e/*.csv"}
- config_name: hard
  data_files: "h/*.csv"
---
"""


def test_what_the_page_of_a_set_says_counts(tmp_path: Path) -> None:
    for name in ("e/a.csv", "e/b.csv", "h/c.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"image,question,answer\nx.png,Is it?,{name}\n")
    (tmp_path / "README.md").write_text(PAGE)
    cases = open_cases(f"hf,path={tmp_path},config=easy,name=s:first")
    assert [(case.id, case.answer) for case in cases] == [
        ("s/first/0", "e/a.csv"),
        ("s/first/1", "e/b.csv"),
    ]
    assert len(open_cases(f"hf,path={tmp_path},config=hard:train")) == 1
    with pytest.raises(UserError, match="configurations easy, hard; fix: write config=easy"):
        open_cases(f"hf,path={tmp_path}:train")
    with pytest.raises(UserError, match="no configuration 'x', but easy, hard"):
        open_cases(f"hf,path={tmp_path},config=x:train")


@pytest.fixture
def reached(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that this process's client asks, with a cache of its own."""
    import huggingface_hub.constants

    with client_of(hub):
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield hub


def test_a_set_of_the_hub(reached: Hub, embedded: Path) -> None:
    commit = reached.publish("them/set", embedded)
    cases = open_cases("hf,path=them/set,gold=index:train")
    assert (len(cases), cases[0].source) == (4, "set")
    assert open_study(cases[1].images[0]).values("image", 0)[0, 0] == 20
    assert len(open_cases(f"hf,path=them/set,gold=index,revision={commit}:test")) == 1
    with pytest.raises(UserError, match="no revision 'nowhere'; fix: name one of"):
        open_cases("hf,path=them/set,revision=nowhere:train")
    with pytest.raises(UserError, match="no data set them/other, neither as a folder here nor on"):
        open_cases("hf,path=them/other:train")
    reached.publish("them/gated", embedded, gated=True)
    with pytest.raises(UserError, match="the data set them/gated is gated; fix: accept its terms"):
        open_cases("hf,path=them/gated:train")


def test_images_of_the_hub_that_are_files_come_too(reached: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.png").write_bytes(png(7))
    (folder / "test.csv").write_text("image,question,answer\na.png,Is it?,yes\n")
    reached.publish("them/files", folder)
    (case,) = open_cases("hf,path=them/files,images=images:test")
    assert open_study(case.images[0]).values("image", 0)[0, 0] == 7


def test_what_is_no_set_is_named(tmp_path: Path) -> None:
    for spec, said in (
        ("hf:train", "fix: write hf,path=ORG/NAME:SPLIT"),
        ("hf,path=./nowhere/at/all:train", "there is no folder ./nowhere/at/all"),
        (f"hf,path={tmp_path}:train", "has no table that can be read"),
        (f"hf,path={tmp_path},revision=x:train", "is a folder, so it has no revision"),
    ):
        with pytest.raises((UserError, RunError), match=said):
            open_cases(spec)


def test_images_lie_beside_the_file_that_names_them(tmp_path: Path) -> None:
    folders = [tmp_path / "train" / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir(parents=True)
        line = '{"file_name": "1.png", "question": "Is it?", "answer": "yes"}'
        (folder / "metadata.jsonl").write_text(line)
    cases = open_cases(f"hf,path={tmp_path}:train")
    assert [case.images[0].uri for case in cases] == [(f / "1.png").as_uri() for f in folders]
