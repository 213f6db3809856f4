"""VQA-RAD: questions of clinicians about radiographs, CT and MR images, in its two usual copies.

`vqa-rad:SPLIT` reads the copy on the Hub, 1,793 and 451 questions, which has no annotation.
`vqa-rad,copy=annotated:SPLIT` reads the copy of 3,064 and 451 questions (its training split has
1,267 more, which fill a frame such as "is there ..."), from `trainset.json` and `testset.json`, or
from the Parquet files of OctoMed/VQA-RAD. The test questions are the same.

What counts as closed differs, and so do published accuracies. The annotation calls 272 of the 451
test answers closed; 251 of them are yes or no, and the other 21 are words such as Left, Axial or
FLAIR. The annotated copy says closed where the annotation does, so that both numbers can be had
from it: the 251 are its closed cases whose answer is yes or no. The Hub's copy knows only those.

The clean splits of one copy do not go with those of the other: an image has another name in each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medgym.cases import Case, CaseKey
from medgym.errors import UserError, unknown
from medgym.imaging.study import ImageRef
from medgym.scorable import unscorable
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.clean import SUFFIX
from medgym.sources.embedded import column_names, embedded_rows
from medgym.sources.image_files import ImageFiles
from medgym.sources.json_rows import json_objects
from medgym.sources.published import PublishedSource, counted
from medgym.sources.rows import RowCases

from .answers import is_yes_no, open_type

COPIES = ("hub", "annotated")
IMAGES = ("images", "VQA_RAD Image Folder", "images.zip", "VQA_RAD Image Folder.zip")
JSON_FOLDERS = ("", "data_rad/", "data_RAD/")
FIELDS = ("image_name", "image_organ", "question", "answer", "answer_type")

_OCTOMED = (
    "https://huggingface.co/datasets/OctoMed/VQA-RAD/resolve/"
    "18774a5f46b3505f686c0f534a8f1411a4e950ba"
)

APART = (
    "the clean splits of the two copies of vqa-rad are dealt by other names of the images, so one "
    "copy's train-clean shares images with the other's test-clean"
)

ORGANS = {"HEAD": "HEAD", "CHEST": "CHEST", "ABD": "ABDOMEN"}

CARD = Card(
    name="vqa-rad",
    title="VQA-RAD: visual question answering in radiology",
    home="https://osf.io/89kps/",
    repo="flaviagiammarino/vqa-rad",
    revision="bcf91e7654fb9d51c8ab6a5b82cacf3fafd2fae9",
    licence="CC0 1.0",
    citation=(
        "Lau, Gayen, Ben Abacha, Demner-Fushman: A dataset of clinically generated visual "
        "questions and answers about radiology images. Scientific Data 5, 180251 (2018)"
    ),
    splits={
        "train": SplitCounts(rows=1793),
        "test": SplitCounts(rows=451, types={"yes/no": 251, "other": 200}),
        "copy=annotated:train": SplitCounts(
            rows=3064, images=314, types={"CLOSED": 1823, "OPEN": 1241}
        ),
        "copy=annotated:test": SplitCounts(
            rows=451, images=203, types={"CLOSED": 272, "OPEN": 179}
        ),
    },
    files=(
        PublishedFile(
            "data/train-00000-of-00001-eb8844602202be60.parquet",
            sha256="b07c3441467b99060e5ec412ddd05be06f86f01f23bfa3debfbbcab47874a06e",
            size=24_183_983,
        ),
        PublishedFile(
            "data/test-00000-of-00001-e5bc3d208bb4deeb.parquet",
            sha256="eb520bdab1116dd4f420120da19049d2315389fa126d031f65ec42e153264ea7",
        ),
        *(
            PublishedFile(
                f"data/{split}-00000-of-00001.parquet",
                url=f"{_OCTOMED}/data/{split}-00000-of-00001.parquet",
                optional=True,
            )
            for split in ("train", "test")
        ),
        PublishedFile("*set.json", optional=True),
        PublishedFile("data_*/*set.json", optional=True),
    ),
    grouping="the image: by its name in the annotated copy, by its content in the Hub's",
    layout=(
        "data/train-*.parquet and data/test-*.parquet; for copy=annotated the Parquet files of "
        "OctoMed/VQA-RAD there too, or trainset.json, testset.json and the folder images"
    ),
    faults=(
        "the Hub's copy has no answer types: yes and no are closed there, 251 of the 451 test "
        "answers; by the annotation 272 are",
        "ten answers are numbers in the JSON, and one is the text None: all are read as text",
        "two answer types are 'CLOSED ' with a blank, and an answer begins with one: both are cut",
        "143 of the 451 test questions say another one in other words: count by image, not by row",
        "the names of the two files of OctoMed/VQA-RAD are inferred",
        "the Hub's copy leaves out 4 of the 2,248 published questions, which stand there twice",
    ),
    leaks=("all 203 images of the split test are in the split train too, as published",),
)


@dataclass(frozen=True)
class RadRow:
    """A question of either copy, as text; `fault` says what is wrong with its image's name."""

    key: str
    image: ImageRef
    group: str
    question: str
    answer: str
    is_closed: bool
    organ: str = ""
    fault: str | None = None


class VqaRad(PublishedSource):
    """VQA-RAD, from a local copy.

    Args:
        data, counts: as of every published set.
        copy: `hub` or `annotated`, see the module.
    """

    name = "vqa-rad"
    splits = ("train", "test")
    card = CARD

    def __init__(
        self, data: str | None = None, counts: str = "published", copy: str = "hub"
    ) -> None:
        if copy not in COPIES:
            raise unknown("copy", copy, COPIES)
        super().__init__(data, counts)
        self.copy = copy

    def load(self, split: str) -> RowCases[RadRow]:
        """The cases of a split of the copy."""
        if self.copy == "hub":
            return self._cases(split, *self._hub(split))
        path = self._json(split)
        return self._cases(split, *(self._listed(path) if path else self._octomed(split)))

    def expected_counts(self, split: str) -> SplitCounts:
        """Those of the copy."""
        return self.card.splits[split if self.copy == "hub" else f"copy={self.copy}:{split}"]

    def found_counts(self, split: str, loaded: RowCases[RadRow]) -> SplitCounts:
        """Rows; closed and open ones where they are annotated, else those of yes or no."""
        rows = loaded.rows
        closed, other = ("yes/no", "other") if self.copy == "hub" else ("CLOSED", "OPEN")
        return SplitCounts(
            rows=len(rows),
            images=len({row.group for row in rows}),
            types=counted(closed if row.is_closed else other for row in rows),
        )

    def notes(self, split: str) -> tuple[str, ...]:
        """The leak, and which copy it is."""
        said = {
            "hub": "vqa-rad is the Hub's copy, where only yes and no are closed answers",
            "annotated": "vqa-rad is the annotated copy, where closed answers are not all yes or "
            "no",
        }
        notes = (*super().notes(split), said[self.copy])
        return (*notes, APART) if split.endswith(SUFFIX) else notes

    def _cases(self, split: str, rows: Sequence[RadRow], file: str) -> RowCases[RadRow]:
        def make(row: RadRow) -> Case:
            return self._case(split, row)

        return RowCases(
            rows,
            make,
            place=lambda number: f"row {number} of {file}",
            fault=lambda row: row.fault or unscorable(make(row)),
            key=lambda row: self._key(split, row),
            unique_ids=True,
        )

    def _key(self, split: str, row: RadRow) -> CaseKey:
        return CaseKey(f"{self.name}/{split}/{row.key}", self.name, row.group)

    def _case(self, split: str, row: RadRow) -> Case:
        return Case(
            **self._key(split, row)._asdict(),
            images=(row.image,),
            question=row.question,
            answer=row.answer,
            answer_type="closed" if row.is_closed else open_type(row.answer),
            specialty="radiologist",
            body_part=ORGANS.get(row.organ.upper()),
            split=split,
            licence=self.card.licence,
        )

    def _parquet(self, split: str, *, annotated: bool, fix: str) -> list[Path]:
        """The files of one copy; those of the other one may lie beside them."""
        paths = self.files(f"data/{split}-*.parquet")
        found = [path for path in paths if ("answer_type" in column_names(path)) == annotated]
        if not found:
            copy = "the Hub's copy, which has no annotation," if annotated else "the annotated copy"
            raise UserError(f"{paths[0]} is of {copy} of vqa-rad; fix: {fix}")
        return found

    def _hub(self, split: str) -> tuple[list[RadRow], str]:
        paths = self._parquet(split, annotated=False, fix=f"write vqa-rad,copy=annotated:{split}")
        rows = embedded_rows(paths, ("question", "answer"), hashed=True)
        return [
            RadRow(
                key=f"{number:04d}",
                image=row.image,
                group=row.image_hash,
                question=row.of("question"),
                answer=row.of("answer"),
                is_closed=is_yes_no(row.of("answer")),
            )
            for number, row in enumerate(rows)
        ], paths[0].name

    def _octomed(self, split: str) -> tuple[list[RadRow], str]:
        paths = self._parquet(
            split,
            annotated=True,
            fix=f"write vqa-rad:{split}, or run medgym cases get vqa-rad "
            "'data/*-00000-of-00001.parquet'",
        )
        rows = embedded_rows(paths, FIELDS)
        return [
            _annotated(number, {name: row.of(name) for name in FIELDS}, row.image)
            for number, row in enumerate(rows)
        ], paths[0].name

    def _json(self, split: str) -> Path | None:
        paths = [self.folder / f"{folder}{split}set.json" for folder in JSON_FOLDERS]
        return next((path for path in paths if path.exists()), None)

    def _listed(self, path: Path) -> tuple[list[RadRow], str]:
        items = json_objects(path, FIELDS)
        inside = [path.parent / each for each in IMAGES if (path.parent / each).exists()]
        folder = inside[0] if inside else self.file(*IMAGES)
        images = ImageFiles(folder, (item["image_name"] for item in items))
        return [
            _annotated(number, item, images.ref(item["image_name"]))
            for number, item in enumerate(items)
        ], path.name


def _annotated(number: int, item: dict[str, str], image: ImageRef) -> RadRow:
    return RadRow(
        key=f"annotated-{number:04d}",
        image=image,
        group=item["image_name"],
        question=item["question"],
        answer=item["answer"],
        is_closed=item["answer_type"].upper() == "CLOSED",
        organ=item["image_organ"],
        fault=ImageFiles.fault(item["image_name"]),
    )
