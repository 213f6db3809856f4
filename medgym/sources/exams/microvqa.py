"""MicroVQA: questions of biologists about images of microscopes.

What was ambiguous, and how it is decided here:

- The exam is published as a split `train`, and has no other. It is a test all the same: the card of
  the set carries a canary string, so results say that it must stay out of training.
- `question_1`, `choices_1` and `correct_index_1` are an earlier stage, whose wording gives answers
  away. They are not read; nor are the caption and the comments.
- `correct_index` counts from 0. The gold is the text of that choice.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from medgym.imaging.study import ImageRef
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.exams.exam import Exam, Item, cell_of
from medgym.sources.exams.files import Row, field, parquet_rows

_COLUMNS = ("key_question", "key_image", "question", "choices", "correct_index", "task")
_IMAGES = "images_list"

CANARY = (
    "microvqa carries a canary string: its authors ask that it stays out of all training data, "
    "though its only split is called train"
)


class MicroVQA(Exam):
    """MicroVQA. Its arguments are those of `PublishedSource`."""

    name = "microvqa"
    splits = ("train",)
    card = Card(
        name="microvqa",
        title="MicroVQA",
        home="https://jmhb0.github.io/microvqa",
        repo="jmhb/microvqa",
        revision="main",
        licence="CC BY-SA 4.0",
        citation=(
            "Burgess et al., MicroVQA: A Multimodal Reasoning Benchmark for Microscopy-Based "
            "Scientific Research, CVPR 2025 (arXiv 2503.13399)"
        ),
        splits={"train": SplitCounts(1042)},
        files=(PublishedFile("data/*.parquet"),),
        grouping="`key_image`: the questions about one set of images",
        layout="data/train-0000N-of-00005.parquet, five files",
        faults=(
            "the only split is called train, in some revisions test; medgym calls it train",
            "an earlier stage of the questions stands beside them, and is not read",
            "the revision is not proven",
        ),
    )

    def notes(self, split: str) -> tuple[str, ...]:
        """See `Source.notes`: that it must stay out of training."""
        return (*super().notes(split), CANARY)

    def items(self, split: str) -> list[Item]:
        """See `Exam.items`."""
        items = []
        for path in self.all_files("data/*.parquet"):
            ref = cell_of(path)
            for index, row in enumerate(parquet_rows(path, _COLUMNS, (_IMAGES,))):
                items.append(_item(row, path, index, ref))
        return items


def _item(row: Row, path: Path, index: int, ref: Callable[[str], ImageRef]) -> Item:
    place = f"row {index + 1} of {path}"
    choices = tuple(map(str, field(row, "choices", place, list)))
    right = field(row, "correct_index", place, int)
    inside = 0 <= right < len(choices)
    item = Item(
        key=str(field(row, "key_question", place, int)),
        file=path.name,
        number=index + 1,
        group=str(field(row, "key_image", place, int)),
        images=tuple(f"{_IMAGES}/{index}/{each}" for each in range(row[_IMAGES])),
        ref=ref,
        question=field(row, "question", place),
        options=choices,
        answer=choices[right] if inside else "",
        kinds=(f"task {row['task']}",),
        modality="GM",
    )
    if inside:
        return item
    return replace(item, fault=f"its correct_index is {right}, and it has {len(choices)} choices")
