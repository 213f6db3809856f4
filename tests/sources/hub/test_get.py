"""`medgym cases get`: the real client against a hub on the loopback."""

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from medgym.cases import Case
from medgym.imaging.study import ImageRef
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.published import PublishedSource
from medgym.sources.rows import RowCases
from medgym.uris import file_uri
from tests.serving.hub import (
    Hub,
    client_of,
    hub,  # noqa: F401 - a fixture
    publish_source,
)

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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data set as it is published."""
    folder = tmp_path / "published"
    for path, data in {
        "README.md": b"licence: cc-by-4.0\n",
        "test.csv": b"a.png,Which?,conference\nb %20.png,Which?,williams\n",
        "data/pears.zip": LARGE,
        "key.txt": b"the key\n",
        "extra/much.bin": b"much" * 100,
        "other/not wanted.txt": b"no\n",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


@pytest.fixture
def client(
    hub: Hub,  # noqa: F811
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_progress: None,
) -> Iterator[pytest.MonkeyPatch]:
    """The client of that hub, which has the data set; `pears` is registered."""
    from medgym import registry

    known = registry.load
    monkeypatch.setattr(
        registry, "load", lambda kind, name: Pears if name == "pears" else known(kind, name)
    )
    names = registry.names
    monkeypatch.setattr(
        registry, "names", lambda kind: (*names(kind), *(["pears"] if kind == "sources" else []))
    )
    with client_of(hub) as patch:
        publish_source(hub, patch, Pears, folder)
        yield patch


def get(data: Path, *options: str) -> str:
    """What the command says on both outputs."""
    result = CliRunner().invoke(app(), ["get", "pears", "--data", str(data), *options])
    if result.exception is not None:
        raise result.exception
    return result.output


def app() -> Any:
    from medgym.commands.cases import app

    return app


def test_a_data_set_is_fetched_and_read(client: Any, folder: Path, tmp_path: Path) -> None:
    said = get(tmp_path / "data")
    assert "CC BY 4.0" in said
    copy = tmp_path / "data" / "pears"
    for path in ("test.csv", "data/pears.zip", "key.txt", "README.md"):
        assert (copy / path).read_bytes() == (folder / path).read_bytes()
    assert not (copy / "extra").exists()
    assert not (copy / "other").exists()
    assert "CC BY 4.0" in (copy / "LICENCE.txt").read_text()
    found = Pears(data=str(tmp_path / "data")).cases("test")
    assert [case.answer for case in found] == ["conference", "williams"]
