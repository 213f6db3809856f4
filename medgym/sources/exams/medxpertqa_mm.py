"""MedXpertQA MM: expert-level questions with one to six images and five options.

What was ambiguous, and how it is decided here:

- Every question ends in its own list of options, after `Answer Choices:`. It is cut there, so that
  options are shown once.
- `options` is an object of letter to text. Letters are sorted; the gold is the text of `label`.
"""

from dataclasses import replace
from pathlib import Path

from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.exams.exam import Exam, Item, outside
from medgym.sources.exams.files import field, json_lines
from medgym.sources.image_files import ImageFiles

_CHOICES = "\nAnswer Choices:"


class MedXpertQA(Exam):
    """The multimodal part of MedXpertQA. Its arguments are those of `PublishedSource`."""

    name = "medxpertqa-mm"
    splits = ("dev", "test")
    card = Card(
        name="medxpertqa-mm",
        title="MedXpertQA, multimodal",
        home="https://medxpertqa.github.io",
        repo="TsinghuaC3I/MedXpertQA",
        revision="f4e6fe7e5a9e13d6c97d7aa2b91cdd8b80c9cc61",
        licence="MIT",
        citation=(
            "Zuo et al., MedXpertQA: Benchmarking Expert-Level Medical Reasoning and Understanding "
            "(arXiv 2501.18362)"
        ),
        splits={
            "dev": SplitCounts(5),
            "test": SplitCounts(2000, 2852, {"Reasoning": 1446, "Understanding": 554}),
        },
        files=(
            PublishedFile("MM/dev.jsonl"),
            PublishedFile("MM/test.jsonl"),
            PublishedFile("images.zip"),
        ),
        grouping="each item is its own group",
        layout="MM/{dev,test}.jsonl, and images.zip or the folder images that it unpacks to",
        faults=("every question repeats its options at its end; they are cut",),
    )

    def items(self, split: str) -> list[Item]:
        """See `Exam.items`."""
        path = self.file(f"MM/{split}.jsonl")
        rows = json_lines(path)
        listed = (row["images"] for _, row in rows if isinstance(row.get("images"), list))
        names = (str(name) for each in listed for name in each)
        images = ImageFiles(self.file("images", "images.zip"), names)
        items = []
        for number, row in rows:
            place = f"line {number} of {path}"
            key, label = field(row, "id", place), field(row, "label", place)
            options = field(row, "options", place, dict)
            item = Item(
                key=key,
                file=Path(path).name,
                number=number,
                group=key,
                images=tuple(map(str, field(row, "images", place, list))),
                ref=images.ref,
                question=field(row, "question", place).rpartition(_CHOICES)[0],
                options=tuple(str(options[letter]) for letter in sorted(options)),
                answer=str(options.get(label, "")),
                kinds=(field(row, "question_type", place),),
                body_part=row.get("body_system"),
                fault=outside(map(str, row["images"])),
            )
            if not item.question:
                item = replace(item, question=row["question"])
            if label not in options:
                item = replace(item, fault=f"its label {label!r} is none of its options")
            items.append(item)
        return items
