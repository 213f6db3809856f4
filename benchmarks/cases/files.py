"""Tables for `bench cases`: of questions with their images in files, or in the table itself."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 128
GROUP = 1000
"""Rows of a row group, as `datasets` writes them."""

COLUMNS = ("id", "image", "question", "A", "B", "C", "answer", "patient")
FINDINGS = ("effusion", "nodule", "pneumothorax")


def write_csv(path: Path, rows: int, images: int) -> None:
    """A table whose images are files in the folder `images` beside it, each in many rows."""
    (path.parent / "images").mkdir(exist_ok=True)
    for number in range(images):
        (path.parent / "images" / f"{number}.jpg").write_bytes(_jpeg(number))
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows(_row(number, f"images/{number % images}.jpg") for number in range(rows))


def write_parquet(path: Path, rows: int, images: int) -> None:
    """The same table with the images in it."""
    import pyarrow
    import pyarrow.parquet

    made = [_jpeg(number) for number in range(images)]
    text = pyarrow.string()
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", text)])
    types = [(name, image if name == "image" else text) for name in COLUMNS]
    schema = pyarrow.schema(types)
    with pyarrow.parquet.ParquetWriter(path, schema, use_dictionary=False) as writer:
        for first in range(0, rows, GROUP):
            part = []
            for number in range(first, min(first + GROUP, rows)):
                row = dict(zip(COLUMNS, _row(number, ""), strict=True))
                part.append(row | {"image": {"bytes": made[number % images], "path": ""}})
            writer.write_table(pyarrow.Table.from_pylist(part, schema))


def order(rows: int, count: int) -> Iterator[int]:
    """Rows all over a table, in no order."""
    return (int(row) for row in np.random.default_rng(0).integers(0, rows, count))


def _row(number: int, image: str) -> tuple[str, ...]:
    question = f"Which finding is seen in the left lung of patient {number // 10}, study {number}?"
    gold = FINDINGS[number % 3]
    return (f"case-{number}", image, question, *FINDINGS, gold, f"patient-{number // 10}")


def _jpeg(number: int) -> bytes:
    draw = np.random.default_rng(number)
    small = draw.integers(0, 256, (SIDE // 8, SIDE // 8), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(small).resize((SIDE, SIDE)).save(stream, "JPEG")
    return stream.getvalue()
