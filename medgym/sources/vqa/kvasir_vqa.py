"""Kvasir-VQA: questions about endoscopies of the digestive tract.

The set is published as one split, `raw`, and papers split its *rows*, so that a model is tested on
images that it has learned from. Here images are split, by a hash of their id: of ten about eight
are in `train`, one is in `validation` and one in `test`, the same ones for all.

An answer that names several things has semicolons between them ("pink; red"): a set.
"""

import hashlib

from medgym.cases import Case, CaseKey
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.embedded import EmbeddedRow, embedded_rows, place_of
from medgym.sources.published import PublishedSource
from medgym.sources.rows import RowCases

from .answers import answer_type, blank

RAW = "raw"
TENTHS = {0: "test", 1: "validation"}
"""The split of an image by the last digit of its hash; all others are in `train`."""

CARD = Card(
    name="kvasir-vqa",
    title="Kvasir-VQA: a text-image pair GI tract data set",
    home="https://datasets.simula.no/kvasir-vqa",
    repo="SimulaMet-HOST/Kvasir-VQA",
    revision="9b870b2c779ef82ed422ebf8baf262b92af5f314",
    licence="CC BY-NC 4.0",
    citation=(
        "Gautam, Storås, Midoglu, Hicks, Thambawita, Halvorsen, Riegler: Kvasir-VQA: A text-image "
        "pair GI tract dataset. VLM4Bio 2024"
    ),
    splits={RAW: SplitCounts(rows=58_849, images=6500, origin="card")},
    files=(PublishedFile("data/*.parquet"),),
    grouping="the image, by its img_id",
    layout="data/00000.parquet, data/00001.parquet and so on",
    faults=(
        "there is no published split: medgym splits the images by a hash of their id, not the rows",
        "several images may be of one patient or of one video: nothing published says which",
        "the challenge sets and the imagefolder copy of the same name hold other rows",
    ),
)


class KvasirVqa(PublishedSource):
    """Kvasir-VQA, from a local copy."""

    name = "kvasir-vqa"
    splits = ("train", "validation", "test")
    card = CARD

    def load(self, split: str) -> RowCases[EmbeddedRow]:
        """The cases of a split of the images. The whole set is read and counted."""
        paths = self.files("data/*.parquet")
        raw = embedded_rows(paths, ("question", "answer", "img_id"))
        self._raw = SplitCounts(len(raw), len({row.of("img_id") for row in raw}))
        numbers = [n for n, row in enumerate(raw) if split_of(row.of("img_id")) == split]
        rows = [raw[number] for number in numbers]
        ids = {(row.path, row.number): n for n, row in zip(numbers, rows, strict=True)}
        return RowCases(
            rows,
            lambda row: self._case(split, ids[row.path, row.number], row),
            place=lambda number: place_of(rows, number),
            fault=lambda row: blank(row.of("question"), row.of("answer")),
            key=lambda row: self._key(split, ids[row.path, row.number], row),
            unique_ids=True,
        )

    def expected_counts(self, split: str) -> SplitCounts:
        """Those of the whole set."""
        return self.card.splits[RAW]

    def found_counts(self, split: str, loaded: RowCases[EmbeddedRow]) -> SplitCounts:
        """Those of the whole set."""
        return self._raw

    def notes(self, split: str) -> tuple[str, ...]:
        """That the split is not a published one."""
        return (
            *super().notes(split),
            "kvasir-vqa has no published split: medgym splits its images",
        )

    def _key(self, split: str, number: int, row: EmbeddedRow) -> CaseKey:
        return CaseKey(f"{self.name}/{split}/{number:05d}", self.name, row.of("img_id"))

    def _case(self, split: str, number: int, row: EmbeddedRow) -> Case:
        answer = row.of("answer")
        return Case(
            **self._key(split, number, row)._asdict(),
            images=(row.image,),
            question=row.of("question"),
            answer=answer,
            answer_type="set" if ";" in answer else answer_type(answer),
            modality="ES",
            specialty="gastroenterologist",
            split=split,
            licence=self.card.licence,
        )


def split_of(image_id: str) -> str:
    """The split of an image, by its id only."""
    digest = hashlib.blake2b(image_id.encode("utf-8"), digest_size=8).digest()
    return TENTHS.get(int.from_bytes(digest, "big") % 10, "train")
