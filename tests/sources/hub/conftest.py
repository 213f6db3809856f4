"""The data set of these tests, published on a hub on the loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from medgym.registry import load
from medgym.sources import cards
from tests.serving.hub import Hub, client_of, publish_source
from tests.sources.hub.pears import LARGE, Pears


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data set as it is published."""
    folder = tmp_path / "published"
    for path, data in {
        "README.md": b"licence: cc-by-4.0\n",
        "test.csv": b"a.png,Which?,conference\nb %20.png,Which?,williams\n",
        "data/pears.zip": LARGE,
        "key.txt": b"the key\n",
        "no easy names/a b%20c#d?e..png": b"a pear\n",
        "extra/much.bin": b"much" * 100,
        "other/not wanted.txt": b"no\n",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


@pytest.fixture
def client(
    hub: Hub,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_progress: None,
) -> Iterator[pytest.MonkeyPatch]:
    """The client of that hub, which has the data set; `pears` is registered."""
    monkeypatch.setattr(cards, "names", lambda kind: ("pears", "phantom"))
    monkeypatch.setattr(
        cards, "load", lambda kind, name: Pears if name == "pears" else load(kind, name)
    )
    with client_of(hub) as patch:
        publish_source(hub, patch, Pears, folder)
        yield patch
