"""`bench cases`: cases through open, index and decode, of a table of 100,000 rows.

The rival is the library `datasets` on the same files. Both open the table, take rows all over it in
no order, and decode the image of each. Images are files (CSV) or lie in the table (Parquet). To
open is `open_cases` of the source `table`; for the rival it is `load_dataset` with an empty cache,
which writes a copy of the table to the disk, and later reads that. A case is checked as it is made;
the rival's row is a dict. Each figure is taken in a process of its own, which has opened another
table before. The files are in the system's cache.
"""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import numpy as np

from medgym.cases import open_cases
from medgym.errors import RunError, UserError, missing_library
from medgym.imaging.opened import opened_image
from medgym.progress import progress

from ..comparison import Comparison
from ..studies.resident import CLEAR, MEGABYTE, mark, resident
from .files import order, write_csv, write_parquet

ROWS, IMAGES = 100_000, 2000
MILLION = 1_000_000
INDEXED, DECODED = 5000, 2000
"""Rows that are taken, and images that are decoded."""

RIVAL = {
    "open": "datasets: load_dataset, nothing cached",
    "index": "datasets: ds[i], without the image",
    "decode": "datasets: ds[i] with datasets.Image, as an array",
    "memory": "datasets: open, index and decode",
}
UNIT = {
    "open": "ms of CPU",
    "index": "cases/s of CPU",
    "decode": "images/s of CPU",
    "memory": "MB",
}

Figures = tuple[float, int, int]
"""The seconds of a processor, the cases made, the bytes grown."""


def cases(
    rows: int = ROWS, images: int = IMAGES, million: int = MILLION, repetitions: int = 3
) -> list[Comparison]:
    """Measure tables of `rows` with their images in files and in the table, and a table of text
    alone of `million` rows."""
    if not CLEAR.exists():
        raise UserError("bench cases reads /proc, as Linux has it; fix: run it there")
    try:
        import datasets as datasets
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    with TemporaryDirectory() as text:
        folder = Path(text)
        write_csv(folder / "files.csv", rows, images)
        write_parquet(folder / "cells.parquet", rows, images)
        write_csv(folder / "million.csv", million, 1)
        for end, write in (("csv", write_csv), ("parquet", write_parquet)):
            write(folder / f"before.{end}", 10, 1)
        wanted = [("files.csv", step) for step in UNIT]
        wanted += [("cells.parquet", step) for step in UNIT]
        wanted += [("million.csv", step) for step in ("open", "memory")]
        found = _in_turns(folder, wanted, repetitions)
    return [
        Comparison(
            f"cases.{name.partition('.')[0]}.{step}",
            found[name, step, "ours"],
            UNIT[step],
            RIVAL[step],
            found[name, step, "theirs"],
        )
        for name, step in wanted
    ]


def _in_turns(
    folder: Path, wanted: Sequence[tuple[str, str]], repetitions: int
) -> dict[tuple[str, str, str], float]:
    """The median of each figure by file, step and side; the sides take turns."""
    taken: defaultdict[tuple[str, str, str], list[Figures]] = defaultdict(list)
    with progress("tables", 2 * repetitions * len(wanted)) as advance:
        for _ in range(repetitions):
            for name, step in wanted:
                for side in ("ours", "theirs"):
                    taken[name, step, side].append(_measured(side, step, folder / name))
                    advance()
    return {key: _figure(key[1], figures) for key, figures in taken.items()}


def _figure(step: str, figures: Sequence[Figures]) -> float:
    if step == "open":
        return median(1000 * seconds for seconds, _, _ in figures)
    if step == "memory":
        return median(max(grown, 1) / MEGABYTE for *_, grown in figures)
    return median(times / seconds for seconds, times, _ in figures)


def _measured(side: str, step: str, path: Path) -> Figures:
    words = [sys.executable, "-m", __name__, side, step, path.name]
    quiet = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=path.parent, env={**os.environ, **quiet}
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RunError(f"the process that was measured failed ({last}); fix: run it by itself")
    seconds, times, grown = json.loads(done.stdout.splitlines()[-1])
    return seconds, times, grown


def _ours(path: Path) -> Any:
    options = "" if path.stem == "before" else ",options=A+B+C"
    return open_cases(f"table,path={path}{options}:all")


def _theirs(path: Path) -> Any:
    import datasets

    kind = path.suffix.removeprefix(".")
    cache = mkdtemp(dir=path.resolve().parent)
    return datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=cache)


def _index_ours(table: Any, count: int) -> None:
    for row in order(len(table), count):
        assert table[row].question


def _index_theirs(table: Any, count: int) -> None:
    if not isinstance(table.features["image"], type(table.features["id"])):
        table = table.remove_columns("image")
    for row in order(len(table), count):
        assert table[row]["question"]


def _decode_ours(table: Any, count: int) -> None:
    for row in order(len(table), count):
        assert opened_image(table[row].images[0]).start.pixels.size


def _decode_theirs(table: Any, count: int) -> None:
    import datasets

    table = table.cast_column("image", datasets.Image())
    for row in order(len(table), count):
        assert np.asarray(table[row]["image"]).size


SIDES: dict[str, tuple[Callable[[Path], Any], Callable[..., None], Callable[..., None]]] = {
    "ours": (_ours, _index_ours, _decode_ours),
    "theirs": (_theirs, _index_theirs, _decode_theirs),
}
"""How each side opens, indexes and decodes."""


def measured(side: str, step: str, path: Path, before: Path) -> Figures:
    """Take one figure in this process, which has opened the table `before` and used it."""
    opened, indexed, decoded = SIDES[side]
    table = opened(before)
    indexed(table, 3)
    decoded(table, 3)
    table = None if step in ("open", "memory") else opened(path)
    resting, start, times = mark(), time.process_time(), 1
    if step in ("open", "memory"):
        table = opened(path)
    if step in ("index", "memory"):
        times = INDEXED
        indexed(table, times)
    if step == "decode" or (step == "memory" and path.stem != "million"):
        times = DECODED
        decoded(table, times)
    seconds = time.process_time() - start
    return seconds, times, max(resident("VmHWM") - resting, 0)


def main() -> None:
    """In the process that is measured: `SIDE STEP FILE`, in the file's folder."""
    side, step, name = sys.argv[1:]
    path = Path(name)
    print(json.dumps(measured(side, step, path, path.with_stem("before"))))


if __name__ == "__main__":
    main()
