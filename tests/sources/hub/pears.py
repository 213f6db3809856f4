"""A published data set that the tests make: its source, and the command that fetches it."""

import csv
import hashlib
from pathlib import Path
from typing import Any, ClassVar

from typer.testing import CliRunner

from medgym.cases import Case
from medgym.commands.cases.app import app
from medgym.imaging.study import ImageRef
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.published import PublishedSource
from medgym.sources.rows import RowCases
from medgym.uris import file_uri

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Pears(PublishedSource):
    """A published set of two files, one of them large, and one from elsewhere."""

    name = "pears"
    splits = ("test",)
    card: ClassVar[Card] = Card(
        name="pears",
        title="Pears, a data set of the tests",
        home="https://huggingface.co/datasets/orchard/pears",
        repo="orchard/pears",
        revision=COMMIT,
        licence="CC BY 4.0",
        citation="A. Gardener: Pears. 2026.",
        splits={"test": SplitCounts(rows=2)},
        files=(
            PublishedFile("test.csv"),
            PublishedFile("data/*.zip"),
            PublishedFile("no * names/*"),
            PublishedFile("key.txt", url="https://zenodo.org/records/1/files/key.txt"),
            PublishedFile("extra/much.bin", optional=True),
        ),
        grouping="each picture",
        layout="test.csv and data/pears.zip",
    )

    def load(self, split: str) -> RowCases[Any]:
        with self.file("test.csv").open(newline="") as stream:
            rows = list(csv.reader(stream))
        images = self.file("data/pears.zip")

        def make(row: list[str]) -> Case:
            return Case(
                id=f"pears/{split}/{row[0]}",
                images=(ImageRef(uri=file_uri(images), member=row[0]),),
                question=row[1],
                answer=row[2],
                answer_type="open",
                group=row[0],
                source="pears",
                split=split,
            )

        return RowCases(rows, make, lambda n: f"row {n + 1} of test.csv")


LARGE = hashlib.sha256(b"pears").digest() * 10_000
"""320 kB that no compression makes smaller."""


def get(data: Path, *options: str) -> str:
    """What the command says on both outputs."""
    result = CliRunner().invoke(app, ["get", "pears", "--data", str(data), *options])
    if result.exception is not None:
        raise result.exception
    return result.output
