"""SLAKE: questions in English and Chinese about CT, MR and radiographs, with gold regions.

`slake:SPLIT` reads the English questions, `slake,language=zh:SPLIT` the Chinese ones, and
`slake,language=en+zh:SPLIT` both. The two languages were split apart from each other: an image of
the English test questions may be one of the Chinese training questions. So train and test in one
language, or regroup by image.

`slake,regions=named:SPLIT` gives a case the gold regions that its question or its answer names
("Does the picture contain liver?": the liver), `regions=all` all those of the image. They come
from `mask.png` and, for findings that have no mask, from the boxes of `detection.json`. A mask of
another size than its image is not used. Names are English, so that `named` finds none for Chinese
questions.
"""

from collections.abc import Iterable, Sequence

from medgym.cases import AnswerType, Case, CaseKey
from medgym.errors import unknown
from medgym.regions import Region
from medgym.scorable import unscorable
from medgym.source import chosen
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.image_files import ImageFiles
from medgym.sources.json_rows import json_objects
from medgym.sources.published import PublishedSource, counted
from medgym.sources.rows import RowCases

from .answers import items, open_type, other_forms
from .slake_regions import Masks, named_regions

LANGUAGES = ("en", "zh")
REGIONS = ("none", "named", "all")
FIELDS = (
    "qid",
    "img_name",
    "question",
    "answer",
    "q_lang",
    "location",
    "modality",
    "answer_type",
)
FILES = {
    "train": ("train.json",),
    "validation": ("validation.json", "validate.json"),
    "test": ("test.json",),
}
MODALITIES = {"CT": "CT", "MRI": "MR", "X-Ray": "DX"}


def _counts(rows: int, images: int, opened: int, closed: int) -> SplitCounts:
    return SplitCounts(rows, images, {"OPEN": opened, "CLOSED": closed})


CARD = Card(
    name="slake",
    title="SLAKE: a semantically labelled, knowledge-enhanced data set for medical VQA",
    home="https://www.med-vqa.com/slake",
    repo="BoKelvin/SLAKE",
    revision="b2eb8c58556c5ceefe7b9203d3ad17ce0693d193",
    licence="CC BY 4.0",
    citation=(
        "Liu, Zhan, Xu, Ma, Yang, Wu: SLAKE: A semantically-labeled knowledge-enhanced dataset for "
        "medical visual question answering. ISBI 2021"
    ),
    splits={
        "train": _counts(4919, 450, 2976, 1943),
        "validation": _counts(1053, 96, 631, 422),
        "test": _counts(1061, 96, 645, 416),
        "language=zh:train": _counts(4916, 450, 2978, 1938),
        "language=zh:validation": _counts(1046, 96, 624, 422),
        "language=zh:test": _counts(1033, 96, 613, 420),
        "language=en+zh:train": _counts(9835, 586, 5954, 3881),
        "language=en+zh:validation": _counts(2099, 174, 1255, 844),
        "language=en+zh:test": _counts(2094, 180, 1258, 836),
    },
    files=(
        PublishedFile("train.json"),
        PublishedFile("validation.json"),
        PublishedFile("test.json"),
        PublishedFile("imgs.zip"),
        PublishedFile("mask.txt", size=617),
    ),
    grouping="the image",
    layout="train.json, validation.json, test.json, mask.txt, and imgs.zip or the folder imgs",
    faults=(
        "qid 1622 of the split train has no answer: dropped and counted",
        "14 rows of the split train repeat another one, with the same answer: kept",
        "answers that list several things, by a comma or a Chinese one, have no order: sets",
        "in a list such as 'Left Lung, Right' the second means the right one of the same: both "
        "forms are accepted",
        "61 of the 416 closed English test answers are not yes or no, and Chinese ones are many "
        "words: closed is what the annotation calls closed",
        "the split validation was called validate.json before 28 February 2024: either is read",
    ),
    leaks=(
        "across languages train and test share 142 images, train and validation 130, validation "
        "and test 26; within one language none",
    ),
)

Row = dict[str, str]


class Slake(PublishedSource):
    """SLAKE, from a local copy.

    Args:
        data, counts: as of every published set.
        language: `en`, `zh` or `en+zh`.
        regions: `none`, `named` or `all`, see the module.
    """

    name = "slake"
    splits = ("train", "validation", "test")
    card = CARD

    def __init__(
        self,
        data: str | None = None,
        counts: str = "published",
        language: str = "en",
        regions: str = "none",
    ) -> None:
        if regions not in REGIONS:
            raise unknown("regions", regions, REGIONS)
        self.languages = tuple(sorted(chosen("language", language, LANGUAGES)))
        super().__init__(data, counts)
        self.regions = regions

    def load(self, split: str) -> RowCases[Row]:
        """The questions of a split in the chosen languages."""
        path = self.file(*FILES[split])
        listed = enumerate(json_objects(path, FIELDS))
        found = [(place, row) for place, row in listed if row["q_lang"] in self.languages]
        rows, places = [row for _, row in found], [place for place, _ in found]
        images = ImageFiles(self.file("imgs", "imgs.zip"), (row["img_name"] for row in rows))
        masks = self._masks(images)

        def fault(row: Row) -> str | None:
            return ImageFiles.fault(row["img_name"]) or unscorable(
                self._case(split, row, images, ())
            )

        return RowCases(
            rows,
            lambda row: self._case(split, row, images, self._named(row, masks)),
            place=lambda number: f"row {places[number]} of {path.name}",
            fault=fault,
            key=lambda row: self._key(split, row),
        )

    def expected_counts(self, split: str) -> SplitCounts:
        """Those of the languages."""
        language = "+".join(self.languages)
        return self.card.splits[split if language == "en" else f"language={language}:{split}"]

    def found_counts(self, split: str, loaded: RowCases[Row]) -> SplitCounts:
        """Rows, images, and open and closed answers as annotated."""
        rows: Sequence[Row] = loaded.rows
        return SplitCounts(
            rows=len(rows),
            images=len({row["img_name"] for row in rows}),
            types=counted(row["answer_type"] for row in rows),
        )

    def notes(self, split: str) -> tuple[str, ...]:
        """The leak across languages, where both are read."""
        notes = super().notes(split)
        if len(self.languages) > 1:
            return notes
        return tuple(note for note in notes if note not in self.card.leaks)

    def _masks(self, images: ImageFiles) -> Masks | None:
        return None if self.regions == "none" else Masks(images, self.file("mask.txt"))

    def _named(self, row: Row, masks: Masks | None) -> Iterable[Region]:
        if masks is None:
            return ()
        found = masks.of(row["img_name"])
        if self.regions == "all":
            return found
        return named_regions(found, f"{row['question']} {row['answer']}")

    def _key(self, split: str, row: Row) -> CaseKey:
        image = row["img_name"].partition("/")[0]
        return CaseKey(f"{self.name}/{split}/{row['qid']}", self.name, image)

    def _case(self, split: str, row: Row, images: ImageFiles, regions: Iterable[Region]) -> Case:
        return Case(
            **self._key(split, row)._asdict(),
            images=(images.ref(row["img_name"]),),
            question=row["question"],
            answer=row["answer"],
            accepted=other_forms(row["answer"]) if _answer_type(row) == "set" else (),
            answer_type=_answer_type(row),
            regions=tuple(regions),
            modality=MODALITIES.get(row["modality"]),
            body_part=row["location"] or None,
            specialty="radiologist",
            language=row["q_lang"],
            split=split,
            licence=self.card.licence,
        )


def _answer_type(row: Row) -> AnswerType:
    if row["answer_type"] == "CLOSED":
        return "closed"
    return "set" if len(items(row["answer"])) > 1 else open_type(row["answer"])
