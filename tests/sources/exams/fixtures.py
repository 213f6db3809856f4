"""What the fixtures of exams are made with."""

import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from medgym.imaging.study import ImageRef, open_image


def encoded(value: int, kind: str = "PNG") -> bytes:
    """A small picture of one grey value."""
    stream = io.BytesIO()
    Image.fromarray(np.full((6, 8), value, np.uint8)).save(stream, kind)
    return stream.getvalue()


def packed(path: Path, members: dict[str, bytes]) -> Path:
    """A zip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def lines(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """A JSON lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""What `datasets.Image` is in a Parquet file."""


def cell(value: int) -> dict[str, Any]:
    """A picture as a cell of a Parquet file."""
    return {"bytes": encoded(value), "path": None}


def parquet(path: Path, columns: dict[str, Any]) -> Path:
    """A Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def grey(ref: ImageRef) -> int:
    """The grey value of a picture that a case names."""
    return int(open_image(ref).pixels.flat[0])
