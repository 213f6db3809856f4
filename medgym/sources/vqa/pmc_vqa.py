"""PMC-VQA: multiple-choice questions about figures of open articles, in its three versions.

`pmc-vqa:SPLIT` reads version 1 (227,000 questions, `train.csv`, `test.csv`, `images.zip`),
`pmc-vqa,version=clean:test` the 2,000 test questions of it that people checked, and
`pmc-vqa,version=v2:SPLIT` version 2, of figures that were cut into their parts (`train_2.csv`,
`test_2.csv`, `images_2.zip`). Papers that say "PMC-VQA test" mean one of three sets.

Version 1 has each choice with its letter ("A:Diffuse uptake pattern"). It is cut, or options would
have two letters and the answer, which has none, would be none of them. The answer is that which its
letter names; a row whose answer text is another choice than its letter says is dropped and counted.
An answer that is near a choice is no answer. Captions, which give answers away, are not read.
"""

import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from medgym.cases import Case, CaseKey, normalised
from medgym.errors import UserError, unknown
from medgym.files import open_regular
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.image_files import ImageFiles
from medgym.sources.published import PublishedSource
from medgym.sources.rows import RowCases

VERSIONS = ("v1", "v2", "clean")
LETTERS = "ABCD"
CHOICES = ("choice a", "choice b", "choice c", "choice d")
LABELS = ("answer_label", "anwser_label", "answer label")
FILES = {
    ("v1", "train"): "train.csv",
    ("v1", "test"): "test.csv",
    ("clean", "test"): "test_clean.csv",
    ("v2", "train"): "train_2.csv",
    ("v2", "test"): "test_2.csv",
}
IMAGES = {
    "v1": ("images", "images.zip"),
    "clean": ("images", "images.zip"),
    "v2": ("figures", "images_2", "images_2.zip"),
}
_ARTICLE = re.compile(r"PMC\d+")

CARD = Card(
    name="pmc-vqa",
    title="PMC-VQA: visual instruction tuning for medical visual question answering",
    home="https://xiaoman-zhang.github.io/PMC-VQA/",
    repo="RadGenome/PMC-VQA",
    revision="b56ae594f794867893143b337b4118a835794647",
    licence="CC BY-SA; the articles are CC0 or CC BY",
    citation=(
        "Zhang, Wu, Zhao, Lin, Zhang, Wang, Xie: PMC-VQA: Visual instruction tuning for medical "
        "visual question answering. arXiv 2305.10415 (2023)"
    ),
    splits={
        "train": SplitCounts(rows=176_948, origin="inferred"),
        "test": SplitCounts(rows=None),
        "version=clean:test": SplitCounts(rows=2000, origin="card"),
        "version=v2:train": SplitCounts(rows=152_603, origin="inferred"),
        "version=v2:test": SplitCounts(rows=33_430, origin="inferred"),
    },
    files=(
        PublishedFile("train.csv"),
        PublishedFile("test.csv"),
        PublishedFile("test_clean.csv"),
        PublishedFile("images.zip", size=18_945_102_275),
        PublishedFile("train_2.csv", optional=True),
        PublishedFile("test_2.csv", optional=True),
        PublishedFile("images_2.zip", size=2_206_255_503, optional=True),
    ),
    grouping="the article that the figure is from",
    layout=(
        "train.csv, test.csv, test_clean.csv and images.zip or the folder images; for version=v2 "
        "train_2.csv, test_2.csv and images_2.zip or the folder figures"
    ),
    faults=(
        "choices of version 1 begin with their letter: it is cut",
        "the column of the letter is Answer_label, Anwser_label on the page, and Anwser or Answer "
        "hold the text: any spelling is read",
        "the counts of versions 1 and 2 come from other copies, and none is known of test.csv",
        "questions and answers were written by a language model from captions",
    ),
    leaks=(
        "figures of one article may be in both splits and in all versions: train and test on one "
        "version",
    ),
)


class PmcRow(NamedTuple):
    """A question, as text.

    Attributes:
        number: which row of the file it is, from 0.
        options: the choices without their letters.
        answer: the answer's text; empty where only the letter is given.
        letter: the answer's letter; empty where only the text is given.
    """

    number: int
    figure: str
    question: str
    options: tuple[str, ...]
    answer: str
    letter: str

    @property
    def gold(self) -> str | None:
        """The right one of the options; None where letter and text name none, or two.

        A text that is none of the options leaves it to the letter.
        """
        lettered = dict(zip(LETTERS, self.options, strict=True)).get(self.letter)
        if lettered is not None and lettered == self.answer:
            return lettered
        wanted = normalised(_cut(self.letter, self.answer))
        named = [option for option in self.options if normalised(option) == wanted]
        if not self.letter:
            return named[0] if named else None
        return lettered if not named or lettered in named else None

    def fault(self) -> str | None:
        """Why no answer to it could be scored."""
        if not self.question:
            return "the question is blank"
        if not all(self.options):
            return "an option is blank"
        if self.gold is None:
            return f"the answer {f'{self.letter} {self.answer}'.strip()!r} is none of its options"
        return ImageFiles.fault(self.figure)


class PmcVqa(PublishedSource):
    """PMC-VQA, from a local copy.

    Args:
        data, counts: as of every published set.
        version: `v1`, `v2` or `clean`, see the module.
    """

    name = "pmc-vqa"
    splits = ("train", "test")
    card = CARD

    def __init__(
        self, data: str | None = None, counts: str = "published", version: str = "v1"
    ) -> None:
        if version not in VERSIONS:
            raise unknown("version", version, VERSIONS)
        super().__init__(data, counts)
        self.version = version

    def load(self, split: str) -> RowCases[PmcRow]:
        """The cases of a split of the version."""
        name = FILES.get((self.version, split))
        if name is None:
            raise UserError(
                f"pmc-vqa,version={self.version} has no split {split}; fix: write "
                "pmc-vqa,version=clean:test, or take version=v1"
            )
        rows = _rows(self.file(name))
        images = ImageFiles(self.file(*IMAGES[self.version]), (row.figure for row in rows[:50]))
        return RowCases(
            rows,
            lambda row: self._case(split, row, images),
            place=lambda number: f"row {number} of {name}",
            fault=PmcRow.fault,
            key=lambda row: self._key(split, row),
            unique_ids=True,
        )

    def expected_counts(self, split: str) -> SplitCounts:
        """Those of the version."""
        key = split if self.version == "v1" else f"version={self.version}:{split}"
        return self.card.splits[key]

    def notes(self, split: str) -> tuple[str, ...]:
        """The leak, and which version it is."""
        return (*super().notes(split), f"pmc-vqa is version {self.version}")

    def _key(self, split: str, row: PmcRow) -> CaseKey:
        article = _ARTICLE.match(row.figure)
        return CaseKey(
            id=f"{self.name}/{split}/{self.version}-{row.number:06d}",
            source=self.name,
            group=article[0] if article else row.figure,
        )

    def _case(self, split: str, row: PmcRow, images: ImageFiles) -> Case:
        return Case(
            **self._key(split, row)._asdict(),
            images=(images.ref(row.figure),),
            question=row.question,
            options=row.options,
            answer=row.gold or "",
            answer_type="choice",
            split=split,
            licence=self.card.licence,
        )


def _cut(letter: str, choice: str) -> str:
    """A choice without blanks around it, and without its own letter and a colon before it."""
    text = choice.strip()
    return text[2:].strip() if text[:2].upper() == f"{letter}:" else text


def _rows(path: Path) -> list[PmcRow]:
    with open_regular(path) as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        try:
            lines = csv.reader(text, strict=True)
            read = _reader(path, next(lines, []))
            return [read(cells, number) for number, cells in enumerate(lines) if cells]
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{path} is no whole CSV file ({error}); fix: copy it again") from error


def _reader(path: Path, header: Sequence[str]) -> Callable[[Sequence[str], int], PmcRow]:
    """Makes a row of the cells of a line. Other columns than those needed are not kept."""
    places = {name.strip().casefold(): place for place, name in enumerate(header)}

    def place_of(*names: str) -> int:
        for name in names:
            if name in places:
                return places[name]
        raise UserError(
            f"{path} has no column {names[0]!r}, but {', '.join(header)}; fix: fetch it again"
        )

    figure, question = place_of("figure_path"), place_of("question")
    answer = place_of("answer", "anwser")
    labels = [places[name] for name in LABELS if name in places]
    label = labels[0] if labels else None
    choices = [place_of(choice) for choice in CHOICES]

    def read(cells: Sequence[str], number: int) -> PmcRow:
        if len(cells) != len(header):
            raise UserError(
                f"row {number} of {path} has {len(cells)} cells, and the header {len(header)}; "
                "fix: copy it again"
            )
        text, letter = cells[answer].strip(), "" if label is None else cells[label].strip().upper()
        if label is None and text in LETTERS:
            text, letter = "", text
        return PmcRow(
            number,
            cells[figure].strip(),
            cells[question].strip(),
            tuple(_cut(each, cells[place]) for each, place in zip(LETTERS, choices, strict=True)),
            text,
            letter,
        )

    return read
