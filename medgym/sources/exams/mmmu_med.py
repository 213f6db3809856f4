"""MMMU, Health and Medicine: the five medical subjects of a college exam.

What was ambiguous, and how it is decided here:

- `options` is a text that holds a Python list. It is read as a literal and never evaluated.
- `<image 1>` stands in questions and options. Views are numbered from 0, so it is written as
  `[image 0]`, after the image's place among those that the item has.
- An open item has no options, and its gold is compared as text, also where that text is one letter.
- An open item may have several right answers, written as a list: the first is the answer, the
  others are accepted.
- The answers of `test` are not in the files. `key` names a file that has them.
"""

import ast
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from medgym.source import chosen
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.exams.exam import Exam, Item, cell_of, lettered, no_such_letter
from medgym.sources.exams.files import Row, field, json_of, parquet_rows

SUBJECTS = (
    "Basic_Medical_Science",
    "Clinical_Medicine",
    "Diagnostics_and_Laboratory_Medicine",
    "Pharmacy",
    "Public_Health",
)
_SPLITS = ("dev", "validation", "test")
_ROWS = {
    "dev": (5, 5, 5, 5, 5),
    "validation": (30, 30, 30, 30, 30),
    "test": (326, 325, 162, 430, 509),
}
_OPEN = {"Basic_Medical_Science": 2, "Pharmacy": 3}
"""The open items of validation."""

_IMAGES = tuple(f"image_{number}" for number in range(1, 8))
_COLUMNS = ("id", "question", "options", "answer", "question_type", "subfield")
_PLACEHOLDER = re.compile(r"<image (\d)>")


def _counts(split: str, subjects: tuple[str, ...] = SUBJECTS) -> SplitCounts:
    rows = {name: _ROWS[split][SUBJECTS.index(name)] for name in subjects}
    types = dict(rows)
    if split == "validation":
        types["open"] = sum(_OPEN.get(name, 0) for name in subjects)
    elif split == "test" and subjects == SUBJECTS:
        types["open"] = 40
    if "open" in types:
        types["multiple-choice"] = sum(rows.values()) - types["open"]
    return SplitCounts(sum(rows.values()), types=types)


class MmmuMed(Exam):
    """The medical subjects of MMMU.

    Args:
        data, counts: see `PublishedSource`.
        subject: which of the five subjects, joined by `+`; all by default.
        key: a JSON file of answers: an object of item id to an answer, to a list of right answers,
            or to an object whose `ground_truth` is either. It replaces the answers in the files.
    """

    name = "mmmu-med"
    splits = _SPLITS
    card = Card(
        name="mmmu-med",
        title="MMMU, Health and Medicine",
        home="https://mmmu-benchmark.github.io",
        repo="MMMU/MMMU",
        revision="98e6ac0cb9b7b2cd2c991b85a50762edc4aedc68",
        licence="Apache-2.0 (the questions; images are from textbooks and course material)",
        citation=(
            "Yue et al., MMMU: A Massive Multi-discipline Multimodal Understanding and Reasoning "
            "Benchmark for Expert AGI, CVPR 2024 (arXiv 2311.16502)"
        ),
        splits={split: _counts(split) for split in _SPLITS},
        files=tuple(
            PublishedFile(f"{name}/{split}-*.parquet", optional=split == "test")
            for name in SUBJECTS
            for split in _SPLITS
        ),
        grouping="each item is its own group",
        layout="SUBJECT/{dev,validation,test}-*.parquet for five subjects",
        faults=(
            "the answers of test are not in the files; give them with key=FILE",
            "some golds of open items are a single letter, which is compared as text",
        ),
    )

    def __init__(
        self,
        data: str | None = None,
        counts: str = "published",
        subject: str | None = None,
        key: str | None = None,
    ) -> None:
        self.subjects = chosen("subject", subject, SUBJECTS)
        super().__init__(data, counts)
        self._key = _read_key(Path(key)) if key else {}

    def expected_counts(self, split: str) -> SplitCounts:
        """See `PublishedSource.expected_counts`: those of the subjects that were chosen."""
        return _counts(split, tuple(name for name in SUBJECTS if name in self.subjects))

    def items(self, split: str) -> list[Item]:
        """See `Exam.items`."""
        items = []
        for subject in self.subjects:
            for path in self.all_files(f"{subject}/{split}-*.parquet"):
                ref = cell_of(path)
                for index, row in enumerate(parquet_rows(path, _COLUMNS, _IMAGES)):
                    items.append(_item(row, path, index, subject, self._key, ref))
        if items and all(item.fault == _HIDDEN for item in items):
            raise UserError(
                f"the answers of {self.card.name}:{split} are not published with it; fix: write "
                f"{self.card.name},key=FILE:{split}, where FILE is a JSON file of their answers"
            )
        return items


_HIDDEN = "its answer is not published"


def _item(
    row: Row,
    path: Path,
    index: int,
    subject: str,
    key: dict[str, list[str]],
    ref: Callable[[str], ImageRef],
) -> Item:
    place = f"row {index + 1} of {path}"
    there = [number for number, name in enumerate(_IMAGES, start=1) if row[name]]
    name, kind = field(row, "id", place), field(row, "question_type", place)
    options = literal_list(field(row, "options", place))
    published = field(row, "answer", place)
    golds = key.get(name) or ([] if published.strip() in ("", "?") else _golds(published))

    item = Item(
        key=name,
        file=str(path),
        number=index + 1,
        group=name,
        images=tuple(f"image_{number}/{index}" for number in there),
        ref=ref,
        question=_placed(field(row, "question", place), there),
        options=tuple(_placed(option, there) for option in options or ()),
        answer="",
        kinds=(subject, kind),
    )
    if options is None:
        return replace(item, fault=f"its options are no list: {row['options']!r}")
    if not golds:
        return replace(item, fault=_HIDDEN)
    if not options and kind == "multiple-choice":
        return replace(item, fault="it is a choice without options")
    if not options:
        return replace(item, answer=golds[0], accepted=tuple(golds[1:]))
    texts = [lettered(gold, item.options) for gold in golds]
    if not all(texts):
        return replace(item, fault=no_such_letter(golds[texts.index("")], options))
    return replace(item, answer=texts[0], accepted=tuple(texts[1:]))


def literal_list(text: str) -> list[str] | None:
    """The texts of a Python list that is written as a text; None where it is no such list."""
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return [str(each) for each in value] if isinstance(value, list) else None


def _golds(text: str) -> list[str]:
    """The right answers that a text names: those of a list, or the text itself."""
    listed = literal_list(text) if text.lstrip().startswith("[") else None
    return [text] if listed is None else listed


def _placed(text: str, there: list[int]) -> str:
    """A text whose placeholders say which image of the case they are."""

    def place(match: re.Match[str]) -> str:
        number = int(match[1])
        return f"[image {there.index(number)}]" if number in there else match[0]

    return _PLACEHOLDER.sub(place, text)


def _read_key(path: Path) -> dict[str, list[str]]:
    """The right answers of each item."""
    found = json_of(path)
    if not isinstance(found, dict):
        raise UserError(f"{path} is no key; fix: give a JSON object of item id to answer")
    return {name: _listed(value, f"{name!r} of {path}") for name, value in found.items()}


def _listed(value: Any, place: str) -> list[str]:
    if isinstance(value, dict):
        value = value.get("ground_truth")
    if isinstance(value, str):
        return _golds(value)
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return value
    raise UserError(f"{place} is no answer; fix: write a text, or a list of texts")
