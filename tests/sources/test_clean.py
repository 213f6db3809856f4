"""Clean splits: no group in two, everything else as published."""

import json
from pathlib import Path
from typing import ClassVar

import pytest

from medgym.cases import Case, CaseList
from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.clean import GROUPS
from medgym.sources.published import PublishedSource
from medgym.sources.rows import RowCases

Row = tuple[str, str]


def card(**changes: object) -> Card:
    given: dict[str, object] = {
        "name": "toy",
        "title": "Toy",
        "home": "https://example.org",
        "repo": None,
        "revision": "1",
        "licence": "CC0-1.0",
        "citation": "nobody",
        "splits": {"train": SplitCounts(300), "test": SplitCounts(100)},
        "files": (PublishedFile("toy.json"),),
        "grouping": "the image",
        "layout": "toy.json",
        "leaks": ("80 images of test are in train too",),
    }
    return Card(**(given | changes))  # type: ignore[arg-type]


class Toy(PublishedSource):
    """Of 120 images 80 are in both splits."""

    name: ClassVar[str] = "toy"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    card = card()

    def load(self, split: str) -> RowCases[Row]:
        count = 300 if split == "train" else 100
        rows = [
            (f"{split}-{n}", f"image-{n % 120 if split == 'train' else n % 80}")
            for n in range(count)
        ]

        def made(row: Row) -> Case:
            return Case(
                id=f"toy/{split}/{row[0]}",
                images=(ImageRef(uri=f"file:/{row[1]}.png"),),
                question="What?",
                answer=row[0],
                group=row[1],
                source="toy",
                split=split,
            )

        return RowCases(rows, made, lambda number: f"row {number}")


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    (tmp_path / "toy.json").write_text("{}")
    return Toy(data=str(tmp_path))


def test_a_set_with_a_leak_has_clean_splits() -> None:
    assert Toy.splits == ("train", "test", "train-clean", "test-clean")

    class Whole(Toy):
        """A set without a leak."""

        splits = ("train", "test")
        card = card(leaks=())

    assert Whole.splits == ("train", "test")


def test_no_group_is_in_two_clean_splits_and_no_row_is_lost(toy: Toy) -> None:
    split = {name: list(toy.cases(name)) for name in toy.splits}
    groups = {name: {case.group for case in cases} for name, cases in split.items()}
    assert groups["train"] & groups["test"]
    assert not groups["train-clean"] & groups["test-clean"]
    before = {c.id: c for c in split["train"] + split["test"]}
    after = {c.id: c for c in split["train-clean"] + split["test-clean"]}
    assert before.keys() == after.keys()
    for key, case in after.items():
        assert case.model_copy(update={"split": before[key].split}) == before[key]
        assert case.split.endswith("-clean")
    assert abs(len(split["test-clean"]) - 100) <= 3
    only_train = groups["train"] - groups["test"]
    assert only_train <= groups["train-clean"]
    assert [c.id for c in toy.cases("test-clean")] == [c.id for c in split["test-clean"]]


def test_rows_that_make_no_case_are_counted_in_clean_splits_too(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "medgym.sources.rows.unscorable", lambda case: "bad" if case.answer == "test-7" else None
    )
    dropped = {name: list(CaseList(toy.cases(name)).dropped) for name in toy.splits}
    assert dropped["test-clean"] == dropped["test"] == [("row 7", "bad")]
    assert dropped["train-clean"] == dropped["train"] == []


def test_near_duplicates_named_in_the_copy_are_one_group(toy: Toy) -> None:
    pairs = {f"image-{n}": f"image-{n + 1}" for n in range(0, 120, 2)}
    (toy.folder / GROUPS).write_text(json.dumps(pairs))
    home = {c.group: name for name in toy.splits[2:] for c in toy.cases(name)}
    assert all(home[a] == home[b] for a, b in pairs.items())
    assert "and by near duplicates" in toy.notes("test-clean")[0]


def test_what_is_said_of_clean_splits(toy: Toy) -> None:
    assert toy.notes("test") == toy.card.leaks
    (said,) = toy.notes("test-clean")
    assert said.startswith("test-clean is no published split: ")


def test_a_grouping_of_another_form_is_refused(toy: Toy) -> None:
    (toy.folder / GROUPS).write_text('["a"]')
    with pytest.raises(UserError, match=r"image-groups\.json is no JSON object"):
        toy.cases("test-clean")
