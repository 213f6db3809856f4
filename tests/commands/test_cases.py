"""`medgym cases`: a source without a split names its splits."""

import json

import pytest

from medgym.cli import main
from medgym.sources.phantom.source import SPLITS

Capture = pytest.CaptureFixture[str]


def test_a_source_names_its_splits(capsys: Capture) -> None:
    assert main(["cases", "phantom,look=ct", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["splits"]
    assert set(counts) == set(SPLITS)
    assert main(["cases", "phantom,look=ct"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [f"phantom,look=ct:{split}" for split in SPLITS]


def test_an_empty_slice_is_refused(capsys: Capture) -> None:
    assert main(["cases", "phantom:test[5:2]"]) == 2
    assert "'phantom:test[5:2]' names no case; fix: widen the slice" in capsys.readouterr().err
