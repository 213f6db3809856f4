"""PathVQA: questions about figures of pathology textbooks, from the copy on the Hub.

The set has no answer types. Yes and no are closed here, 3,362 of the 6,719 test answers. All
answers were made lower case and text before they were published, so that "none" and "nan" are what
they say.
"""

from medgym.cases import Case, CaseKey
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.embedded import EmbeddedRow, embedded_rows, place_of
from medgym.sources.published import PublishedSource, counted
from medgym.sources.rows import RowCases

from .answers import answer_type, blank, is_yes_no

CARD = Card(
    name="path-vqa",
    title="PathVQA: questions about pathology images",
    home="https://github.com/UCSD-AI4H/PathVQA",
    repo="flaviagiammarino/path-vqa",
    revision="1685832883334b5bb5beaf4e4b333fdeecaa4ad9",
    licence=(
        "the Hub's page says MIT, which is that of the code; images are figures of textbooks and "
        "of the PEIR library, whose rights their publishers hold"
    ),
    citation=(
        "He, Zhang, Mou, Xing, Xie: PathVQA: 30000+ questions for medical visual question "
        "answering. arXiv 2003.10286 (2020)"
    ),
    splits={
        "train": SplitCounts(rows=19654),
        "validation": SplitCounts(rows=6259),
        "test": SplitCounts(rows=6719, types={"yes/no": 3362, "other": 3357}),
    },
    files=(
        PublishedFile("data/train-*.parquet"),
        PublishedFile("data/validation-*.parquet"),
        PublishedFile("data/test-*.parquet"),
    ),
    grouping="the image, by its content: it is stored again with each of its questions",
    layout="data/train-*.parquet, data/validation-*.parquet and data/test-*.parquet",
    faults=(
        "older commits (dd0d9de) hold 5,198, 1,664 and 1,716 questions, a part: they are refused",
        "no answer is typed: yes and no are closed",
        "answers are lower case, and missing ones became text before they were published",
    ),
)


class PathVqa(PublishedSource):
    """PathVQA, from a local copy. Opening a split reads all its images once, to group them."""

    name = "path-vqa"
    splits = ("train", "validation", "test")
    card = CARD

    def load(self, split: str) -> RowCases[EmbeddedRow]:
        """The cases of a split."""
        paths = self.files(f"data/{split}-*.parquet")
        rows = embedded_rows(paths, ("question", "answer"), hashed=True)
        numbers = {(row.path, row.number): number for number, row in enumerate(rows)}
        return RowCases(
            rows,
            lambda row: self._case(split, numbers[row.path, row.number], row),
            place=lambda number: place_of(rows, number),
            fault=lambda row: blank(row.of("question"), row.of("answer")),
            key=lambda row: self._key(split, numbers[row.path, row.number], row),
            unique_ids=True,
        )

    def found_counts(self, split: str, loaded: RowCases[EmbeddedRow]) -> SplitCounts:
        """Rows, and those of yes or no."""
        closed = (is_yes_no(row.of("answer")) for row in loaded.rows)
        return SplitCounts(
            rows=len(loaded.rows), types=counted("yes/no" if each else "other" for each in closed)
        )

    def _key(self, split: str, number: int, row: EmbeddedRow) -> CaseKey:
        return CaseKey(f"{self.name}/{split}/{number:05d}", self.name, row.image_hash)

    def _case(self, split: str, number: int, row: EmbeddedRow) -> Case:
        answer = row.of("answer")
        return Case(
            **self._key(split, number, row)._asdict(),
            images=(row.image,),
            question=row.of("question"),
            answer=answer,
            answer_type=answer_type(answer),
            specialty="pathologist",
            split=split,
            licence=self.card.licence,
        )
