"""Small copies of published sets, in the layout in which they are published."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image


def image_bytes(shade: int, form: str = "PNG") -> bytes:
    """A grey image file of 12 x 8 pixels."""
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 12), shade, np.uint8)).save(stream, form)
    return stream.getvalue()


def write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Rows as `datasets` writes them; the key `image` is a shade."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{**row, "image": {"bytes": image_bytes(row["image"]), "path": None}} for row in rows]
    pq.write_table(pa.Table.from_pylist(cells), path, row_group_size=2)


@pytest.fixture
def parquet() -> Callable[[Path, Sequence[dict[str, Any]]], None]:
    return write_parquet


@pytest.fixture
def picture() -> Callable[..., bytes]:
    return image_bytes
