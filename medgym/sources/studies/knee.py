"""3DReasonKnee: graded findings in MRI volumes of knees, as questions that can be scored.

A published row asks for a JSON object of grades, such as `{"MOAKS_scores": {"patella medial BML":
{"Size of BML (including cyst)": 2, "Number of BML within subregion": 1}}}`. Each grade is a case of
its own: "presence" and its like are answered with yes or no, all others are a choice among the
grades. MOAKS grades are 0 to 3, those of the form of a meniscus 0 to 8, places of a tear 0 to 3.

Decisions:

- What follows "Provide your reasoning" in a prompt describes the JSON object. It is cut off, and
  the case asks for its one grade instead. The legend of the grades stands before it and stays; the
  legend of the places of a tear, which stands after it, is put back.
- The gold is read in `final_diagnosis`, or after "Final diagnosis:" in `answer`. The reasoning in
  `answer` is written for the grade: it is shown nowhere. A row whose grades cannot be read, and a
  grade outside its scale, are dropped and counted.
- The volumes are not published. They are OAI's, and the authors' code makes NIfTI files of them:
  `data/images/PATIENT/VISIT/STUDY_SERIES_SIDE.nii.gz`. A case starts at slice 80 of the sagittal
  plane, the middle of 160. Axes are read from the file's affine, so it does not matter which of
  them is first in the array.
- A patient has several visits and two knees. The group is the patient.
"""

import ast
import json
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from medgym.cases import Case
from medgym.imaging.study import ImageRef
from medgym.lazy_sequence import LazySequence
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.published import PublishedSource
from medgym.sources.rows import RowCases
from medgym.sources.studies.files import check_keys, text_of
from medgym.sources.studies.json_list import JsonRows
from medgym.uris import file_uri

YES_NO = (
    "presence",
    "Complete Tear",
    "Associated with BML/cyst at site of insertion or origin",
    "ACL Repair",
    "Signal Abnormality",
)
"""The names of grades that are 0 for no and 1 for yes."""

SCALES = {"morphology": 9}
"""How many grades there are under a name; 4 under any other."""

_MIDDLE = 80
_ASKED_FOR = re.compile(r"\s*Provide your reasoning", re.IGNORECASE)
_TEAR = re.compile(r"Tear location is encoded.*?No tear detected\.?", re.DOTALL)
_TOKENS = re.compile(r"<\|[a-z_]+\|>|<image>")
"""What stands for the images in a prompt that is written for one model."""

_DIAGNOSIS = re.compile(r"final[_ ]diagnosis\s*:", re.IGNORECASE)
_PLACE = re.compile(r"box|slice|^[xyz]_?(?:min|max|\d)", re.IGNORECASE)
"""Names of what says where something is, which is no grade."""

_IMAGE = re.compile(r"data/images/(\w+)/(\w+)/(\w[\w.-]*)$")
_WRAPPERS = ("MOAKS_scores", "MOAKS_grade")


class MoaksGrade(NamedTuple):
    """One grade of a row: what it is of, and what the annotation says, as text."""

    of: tuple[str, ...]
    value: str


class GradedRow(NamedTuple):
    """A row of the file, its number, and one of its grades; None for a row without any."""

    row: Mapping[str, Any]
    number: int
    grade: MoaksGrade | None


class ReasonKnee(PublishedSource):
    """3DReasonKnee, each grade as a case.

    Args:
        data, counts: see `PublishedSource`.
    """

    name: ClassVar[str] = "3dreasonknee"
    splits = ("train", "val", "test")
    card = Card(
        name="3dreasonknee",
        title="3DReasonKnee",
        home="https://huggingface.co/datasets/rajpurkarlab/3DReasonKnee",
        repo="rajpurkarlab/3DReasonKnee",
        revision="7a611f92fd3ad3954e8b62feef49ee12bfef725a",
        licence="CC BY 4.0 (annotations); volumes: the terms of the Osteoarthritis Initiative",
        citation="Sambara et al., 3DReasonKnee: Advancing Grounded Reasoning in Medical Vision "
        "Language Models, Pacific Symposium on Biocomputing 2026, arXiv:2510.20967",
        splits={
            "train": SplitCounts(365_862, 5901, origin="inferred"),
            "val": SplitCounts(51_894, 837, origin="inferred"),
            "test": SplitCounts(None),
        },
        files=(
            PublishedFile("data/generate_data/train.json", optional=True),
            PublishedFile("data/generate_data/val.json", optional=True),
            PublishedFile("data/generate_data/test.json", optional=True),
            PublishedFile("data/split_files/*.csv", optional=True),
        ),
        grouping="the patient (the first folder of the image's path)",
        layout="data/generate_data/SPLIT.json as in the repository, and the volumes that its code "
        "makes of OAI's DICOM files in data/images/",
        faults=(
            "the reasoning is a fixed text for each grade, so it gives the grade away",
            "others who counted the files found grades that OAI lacks filled with 0 (31 sizes of "
            "cartilage lesions in train, 4 in val), and 5 in 100 that differ from OAI's",
            "two volumes of train_split.csv (patients 9792220 and 9993362) have no questions",
            "the form of final_diagnosis was not read: an object, JSON text and text after 'Final "
            "diagnosis:' are all taken",
            "boxes come from a model for most volumes, and are not used",
        ),
    )

    def load(self, split: str) -> RowCases[GradedRow]:
        """See `PublishedSource.load`. A row of the file makes one case for each of its grades."""
        path = self.file(f"data/generate_data/{split}.json")
        rows = GradedRows(path)

        def make(graded: GradedRow) -> Case:
            return self._case(split, graded)

        def place(number: int) -> str:
            return f"row {rows.row_of(number)} of {path.name}"

        return RowCases(rows, make, place, fault_of, suspects=rows.suspects)

    def found_counts(self, split: str, loaded: RowCases[GradedRow]) -> SplitCounts:
        """See `PublishedSource.found_counts`. The rows are those of the file."""
        rows = loaded.rows
        assert isinstance(rows, GradedRows)
        return SplitCounts(rows.in_file, len(rows.images))

    def _case(self, split: str, graded: GradedRow) -> Case:
        assert graded.grade is not None
        of, value = graded.grade
        image = _image(graded.row)
        assert image is not None
        patient, visit, file = image
        is_yes_no = of[-1] in YES_NO
        options = () if is_yes_no else tuple(map(str, range(SCALES.get(of[-1], 4))))
        named = ": ".join(of)
        asks = f"Is it there (yes or no): {named}?" if is_yes_no else f"Give the grade: {named}."
        key = f"{patient}-{visit}-{file.partition('.')[0]}"
        return Case(
            id=f"3dreasonknee/{split}/{key}-{graded.number:06d}-{_slug(named)}",
            images=(
                ImageRef(
                    uri=file_uri(self.folder.joinpath("data/images", *image)),
                    plane="sagittal",
                    index=_MIDDLE,
                ),
            ),
            question=f"{asked_of(text_of(graded.row['prompt']), of[-1])} {asks}",
            options=options,
            answer=("no", "yes")[int(value)] if is_yes_no else str(int(value)),
            answer_type="closed" if is_yes_no else "choice",
            modality="MR",
            body_part="KNEE",
            group=patient,
            source=self.name,
            split=split,
            licence=self.card.licence,
        )


class GradedRows(LazySequence[GradedRow]):
    """The grades of all rows of a file, in order; a row without any stands there once.

    Attributes:
        in_file: how many rows the file has.
        images: the paths of its images.
        suspects: the grades that make no case.
    """

    def __init__(self, path: Path) -> None:
        self.images: set[str] = set()
        self.in_file = 0
        self.suspects = array("q")
        self._row, self._grade = array("q"), array("h")

        def look(row: Mapping[str, Any]) -> None:
            number = self.in_file
            check_keys(row, ("image", "prompt"), f"row {number} of {path}")
            self.images.add(text_of(row["image"]))
            found: Sequence[MoaksGrade | None] = grades_of(row) or (None,)
            self.in_file += 1
            for at, grade in enumerate(found):
                if fault_of(GradedRow(row, number, grade)) is not None:
                    self.suspects.append(len(self._row))
                self._row.append(number)
                self._grade.append(at)

        self._rows = JsonRows(path, look)

    def row_of(self, index: int) -> int:
        """The row of the file from which a grade is."""
        return self._row[index]

    def __len__(self) -> int:
        return len(self._row)

    def item(self, index: int) -> GradedRow:
        """A row with one of its grades."""
        number = self._row[index]
        row = self._rows[number]
        grades = grades_of(row)
        return GradedRow(row, number, grades[self._grade[index]] if grades else None)


def grades_of(row: Mapping[str, Any]) -> tuple[MoaksGrade, ...]:
    """The grades of a row, by the names under which they stand; none where they cannot be read."""
    for held in (row.get("final_diagnosis"), row.get("answer")):
        found = held if isinstance(held, dict) else _object(text_of(held))
        grades = tuple(_leaves(found, ()))
        if grades:
            return grades
    return ()


def fault_of(graded: GradedRow) -> str | None:
    """Why a grade makes no case; None where it makes one."""
    if graded.grade is None:
        return "its grades cannot be read"
    if _image(graded.row) is None:
        return f"the image {graded.row['image']!r} is no data/images/PATIENT/VISIT/FILE"
    if not text_of(graded.row["prompt"]):
        return "the prompt is blank"
    of, value = graded.grade
    most = 1 if of[-1] in YES_NO else SCALES.get(of[-1], 4) - 1
    if not value.isdecimal() or int(value) > most:
        return f"the grade {value!r} of {': '.join(of)} is none of 0 to {most}"
    return None


def asked_of(prompt: str, grade: str) -> str:
    """What a prompt asks, without the JSON object in which it wants the answer."""
    prompt = _TOKENS.sub("", prompt)
    found = _ASKED_FOR.search(prompt)
    question = prompt if found is None else prompt[: found.start()]
    legend = _TEAR.search(prompt)
    if legend is not None and "tear" in grade.lower() and legend[0] not in question:
        question += " " + " ".join(legend[0].split())
    return question.strip()


def _leaves(held: object, above: tuple[str, ...]) -> Iterator[MoaksGrade]:
    if not isinstance(held, dict):
        return
    for name, value in held.items():
        path = above if name in _WRAPPERS else (*above, str(name))
        if _PLACE.search(str(name)):
            continue
        if isinstance(value, dict):
            yield from _leaves(value, path)
        elif isinstance(value, int | str) or value is None:
            text = text_of(int(value) if isinstance(value, bool) else value)
            yield MoaksGrade(path or (str(name),), text)


def _object(text: str) -> object:
    """The object in a text: the one after "Final diagnosis:", else the whole text."""
    parts = _DIAGNOSIS.split(text)
    start, end = parts[-1].find("{"), parts[-1].rfind("}") + 1
    held = parts[-1][start:end] if 0 <= start < end else ""
    for read in (json.loads, ast.literal_eval):
        try:
            found: object = read(held)
            return found
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def _image(row: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """PATIENT, VISIT and FILE of a row; None where its image has another form."""
    found = _IMAGE.search(text_of(row["image"]))
    return None if found is None else (found[1], found[2], found[3])


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
