"""VQA-Med 2019: questions about radiology images of one case archive, in four categories.

The rules of the task are kept. In the answers of the test set `#` stands between several right
ones, and what is in brackets may be omitted: each form is accepted. The categories of the test
questions were not to be known when answering, so no case says them. "lung, mediastinum, pleura" is
one name of an organ system, and no list.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from medgym.cases import Case
from medgym.errors import UserError
from medgym.scorable import unscorable
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.image_files import ImageFiles
from medgym.sources.published import PublishedSource, counted
from medgym.sources.rows import RowCases

from .answers import is_yes_no

_BRACKETS = re.compile(r"\s*\([^()]*\)")
_SPACE = re.compile(r"\s+")

_HOME = "https://github.com/abachaa/VQA-Med-2019"
_RECORD = "https://zenodo.org/records/10499039/files"
_TRAIN = "ImageClef-2019-VQA-Med-Training"
_VALIDATION = "ImageClef-2019-VQA-Med-Validation"
_TEST = "VQAMed2019_Test_Questions_w_Ref_Answers.txt"
_TEST_IMAGES = "VQAMed2019_Test_Images"
_TEST_FOLDER = "VQAMed2019Test"


class PairFiles(NamedTuple):
    """Where the questions and images of a split are, in its zip or folder."""

    questions: str
    images: str
    places: tuple[str, ...]


PARTS = {
    "train": PairFiles("All_QA_Pairs_train.txt", "Train_images/", (_TRAIN, f"{_TRAIN}.zip")),
    "validation": PairFiles(
        "All_QA_Pairs_val.txt", "Val_images/", (_VALIDATION, f"{_VALIDATION}.zip")
    ),
}

CARD = Card(
    name="vqa-med-2019",
    title="VQA-Med 2019: medical visual question answering at ImageCLEF",
    home=_HOME,
    repo=None,
    revision="Zenodo record 10499039; the test set from the branch master on GitHub",
    licence="CC BY 4.0",
    citation=(
        "Ben Abacha, Hasan, Datla, Liu, Demner-Fushman, Müller: VQA-Med: Overview of the medical "
        "visual question answering task at ImageCLEF 2019. CLEF 2019 Working Notes"
    ),
    splits={
        "train": SplitCounts(rows=12_792, images=3200, origin="card"),
        "validation": SplitCounts(rows=2000, images=500, origin="card"),
        "test": SplitCounts(
            rows=500,
            images=500,
            types={"modality": 125, "plane": 125, "organ": 125, "abnormality": 125},
        ),
    },
    files=(
        PublishedFile(f"{_TRAIN}.zip", url=f"{_RECORD}/{_TRAIN}.zip?download=1"),
        PublishedFile(f"{_VALIDATION}.zip", url=f"{_RECORD}/{_VALIDATION}.zip?download=1"),
        PublishedFile(_TEST, url=f"{_HOME}/raw/master/{_TEST_FOLDER}/{_TEST}"),
        PublishedFile(
            f"{_TEST_IMAGES}.zip", url=f"{_HOME}/raw/master/{_TEST_FOLDER}/{_TEST_IMAGES}.zip"
        ),
    ),
    grouping="the image",
    layout=(
        f"{_TRAIN}.zip, {_VALIDATION}.zip, {_TEST} and {_TEST_IMAGES}.zip, or the folders that "
        f"they unpack to; the test files may lie in {_TEST_FOLDER}. The same is in Zenodo record "
        "10499039"
    ),
    faults=(
        "12 test answers hold several right ones with # between them, and some an optional part "
        "in brackets: all forms are accepted",
        "images are of MedPix, as those of vqa-rad are, under names of the same form "
        "(synpic12345): a model trained on one may have seen test images of the other",
    ),
)


class MedLine(NamedTuple):
    """A line."""

    number: int
    image: str
    category: str
    question: str
    answer: str


class VqaMed2019(PublishedSource):
    """VQA-Med 2019, from a local copy."""

    name = "vqa-med-2019"
    splits = ("train", "validation", "test")
    card = CARD

    def load(self, split: str) -> RowCases[MedLine]:
        """The cases of a split."""
        return self._test() if split == "test" else self._pairs(split, PARTS[split])

    def found_counts(self, split: str, loaded: RowCases[MedLine]) -> SplitCounts:
        """Rows and images, and of the test split the categories."""
        rows: Sequence[MedLine] = loaded.rows
        return SplitCounts(
            rows=len(rows),
            images=len({row.image for row in rows}),
            types=counted(row.category for row in rows if row.category),
        )

    def _pairs(self, split: str, part: PairFiles) -> RowCases[MedLine]:
        files = ImageFiles(self.file(*part.places), [part.questions])
        data = files.read(part.questions)
        if data is None:
            raise UserError(
                f"{files.path} has no {part.questions}; fix: fetch it again ({self.card.layout})"
            )
        rows = [
            MedLine(number, image, "", question, answer)
            for number, (image, question, answer) in _lines(data, part.questions, 3)
        ]
        return self._cases(split, rows, part.questions, files, part.images)

    def _test(self) -> RowCases[MedLine]:
        folders = ("", f"{_TEST_FOLDER}/")
        path = self.file(*(folder + _TEST for folder in folders))
        rows = [
            MedLine(number, *cells) for number, cells in _lines(path.read_bytes(), path.name, 4)
        ]
        names = [f"{_TEST_IMAGES}{end}" for end in ("", ".zip")]
        place = self.file(*(folder + name for folder in folders for name in names))
        return self._cases(
            "test", rows, path.name, ImageFiles(place, (f"{row.image}.jpg" for row in rows)), ""
        )

    def _cases(
        self, split: str, rows: Sequence[MedLine], file: str, images: ImageFiles, folder: str
    ) -> RowCases[MedLine]:
        def make(row: MedLine) -> Case:
            first, *others = forms(row.answer) if split == "test" else (row.answer,)
            return Case(
                id=f"{self.name}/{split}/{row.number:05d}",
                images=(images.ref(f"{folder}{row.image}.jpg"),),
                question=row.question,
                answer=first,
                accepted=tuple(others),
                answer_type="closed" if is_yes_no(first) else "open",
                specialty="radiologist",
                group=row.image,
                source=self.name,
                split=split,
                licence=self.card.licence,
            )

        return RowCases(
            rows,
            make,
            place=lambda number: f"line {rows[number].number + 1} of {file}",
            fault=lambda row: ImageFiles.fault(row.image) or unscorable(make(row)),
            unique_ids=True,
        )


def forms(answer: str) -> tuple[str, ...]:
    """The right answers that a reference answer of the test set stands for, as it has them first.

    `a#b` stands for a and for b; `(a) b` for "(a) b", "a b" and "b".
    """
    found: list[str] = []
    for each in filter(None, (part.strip() for part in answer.split("#"))):
        bare = each.replace("(", " ").replace(")", " ")
        found += (each, _SPACE.sub(" ", bare).strip(), _BRACKETS.sub("", each).strip())
    return tuple(dict.fromkeys(filter(None, found))) or ("",)


def _lines(data: bytes, name: str, cells: int) -> list[tuple[int, tuple[str, ...]]]:
    """The lines of a text file, each in so many cells; a bar in the last one belongs to it."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 ({error}); fix: fetch it again") from error
    found = []
    for number, line in enumerate(text.split("\n")):
        if not line.strip():
            continue
        parts = tuple(part.strip() for part in line.split("|", cells - 1))
        if len(parts) != cells:
            raise UserError(
                f"line {number + 1} of {name} has {len(parts)} cells, and not {cells}; fix: fetch "
                "it again"
            )
        found.append((number, parts))
    return found
