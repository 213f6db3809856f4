"""Cells of large Parquet files are the right ones in any order, and few of them are kept."""

import asyncio
import io
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from medgym.cases import Case
from medgym.errors import UserError
from medgym.imaging import study
from medgym.imaging.containers import cells
from medgym.imaging.containers.cells import CellFile, read_cell
from medgym.imaging.containers.held import HeldFile
from medgym.imaging.study import ImageRef
from medgym.rollout import collect
from medgym.uris import file_uri

ROWS, SIZE = 60, 3000


def content(row: int) -> bytes:
    return row.to_bytes(2, "little") * (SIZE // 2)


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose row groups are large for limits as small as these."""
    monkeypatch.setattr(cells, "PART", 4 * SIZE)
    monkeypatch.setattr(cells, "WHOLE", 2 * SIZE)
    monkeypatch.setattr(cells, "KEPT", 12 * SIZE)
    path = tmp_path / "a.parquet"
    images = [{"bytes": content(row), "path": f"{row}.png"} for row in range(ROWS)]
    table = pa.table({"image": images, "other": [content(row) for row in range(ROWS)]})
    pq.write_table(table, path, row_group_size=25, use_dictionary=False, data_page_size=SIZE)
    return path


def stamp(path: Path) -> tuple[int, int, int]:
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns, found.st_ino


def kept() -> int:
    return sum(part.cells.nbytes for _, part in cells._parts.values())


def test_cells_in_any_order_are_the_right_ones_and_few_are_kept(large: Path) -> None:
    rows = random.Random(0).sample(range(ROWS), ROWS)
    for row in rows:
        found = read_cell(large, stamp(large), "image", row)
        assert found == {"bytes": content(row), "path": f"{row}.png"}
        assert read_cell(large, stamp(large), "other", row) == content(row)
        assert kept() <= 12 * SIZE


def test_a_walk_reads_each_part_once(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    keep = cells._keep

    def counted(file: CellFile, column: str, part: cells._Part) -> None:
        read.append(part.first)
        keep(file, column, part)

    monkeypatch.setattr(cells, "_keep", counted)
    file = CellFile(large)
    assert [file.cell("other", row) for row in range(ROWS)] == [*map(content, range(ROWS))]
    assert read == sorted(set(read))
    assert len(read) >= 12, "parts, not whole row groups"


def test_a_small_row_group_is_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"raw": [content(row) for row in range(8)]}), path, row_group_size=4)
    file = CellFile(path)
    assert file.cell("raw", 5) == content(5)
    owner, part = next(reversed(cells._parts.values()))
    assert owner is file
    assert (part.first, len(part.cells)) == (4, 4)


def test_an_image_of_many_rows_that_the_file_holds_once_is_read_in_parts(large: Path) -> None:
    path = large.with_name("repeated.parquet")
    rows = [content(row % 2) for row in range(200)]
    pq.write_table(pa.table({"raw": rows}), path, row_group_size=200)
    size = pq.ParquetFile(path).metadata.row_group(0).column(0).total_uncompressed_size
    cells.WHOLE = 2 * size  # 600,000 bytes come of it
    file = CellFile(path)
    for row in (150, 0, 199, 51):
        assert file.cell("raw", row) == rows[row]
        assert kept() <= 12 * SIZE


def test_many_threads_read_one_file(large: Path) -> None:
    rows = [random.Random(seed).randrange(ROWS) for seed in range(200)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda row: read_cell(large, stamp(large), "other", row), rows))
    assert found == [content(row) for row in rows]


def test_a_damaged_row_group_is_named_and_others_are_read(large: Path) -> None:
    start = pq.ParquetFile(large).metadata.row_group(1).column(2).data_page_offset
    with large.open("r+b") as stream:
        stream.seek(start)
        stream.write(b"\xff" * 64)
    with pytest.raises(UserError, match=r"a\.parquet is no whole Parquet file .*; fix: copy it"):
        read_cell(large, stamp(large), "other", 30)
    assert read_cell(large, stamp(large), "other", 3) == content(3)
    assert read_cell(large, stamp(large), "other", 55) == content(55)


def test_members_are_read_off_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As files are: an image of gigabytes holds up no other episode."""
    path = tmp_path / "a.parquet"
    stream = io.BytesIO()
    Image.new("L", (32, 32), 90).save(stream, "PNG")
    pq.write_table(pa.table({"image": [{"bytes": stream.getvalue(), "path": ""}] * 4}), path)
    on_loop: list[bool] = []
    read = study.held_member

    def watched(path: Path, member: str) -> HeldFile:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            on_loop.append(False)
        else:
            on_loop.append(True)
        return read(path, member)

    monkeypatch.setattr(study, "held_member", watched)
    cases = [
        Case(
            id=f"a/test/{row}", images=(ImageRef(uri=file_uri(path), member=f"image/{row}"),),
            question="?", answer="x", group=str(row), source="a", split="test",
        )
        for row in range(4)
    ]  # fmt: skip
    played = list(collect(cases, "scripted:random"))
    assert [each.failure for each in played] == [None] * 4
    assert len(on_loop) >= 4
    assert not any(on_loop)
