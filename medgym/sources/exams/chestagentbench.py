"""ChestAgentBench: six-choice questions about Eurorad's cases of the chest.

What was ambiguous, and how it is decided here:

- Options stand in the text of the question, a line each, as `A) ...` or `A. ...`. They are cut out.
  A question of which they cannot be told is dropped, and counted.
- `images` is a text, a list, or a list of lists. It is flattened in its order. Paths begin with
  `figures/`, the folder at the top of `figures.zip`.
- Questions speak of "Figure 1a", so the context says which image is which figure, by its file name.
- One case of Eurorad has two to five questions about the same images: the case is the group.
- No split is published. The source calls all of it `test`.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.exams.exam import Exam, Item, lettered, no_such_letter, outside
from medgym.sources.exams.files import Row, field, json_lines
from medgym.sources.image_files import ImageFiles

_TOP = "figures"
_MARKS = (
    re.compile(r"^[ \t]*\(?([A-J])\)[ \t]*", re.MULTILINE),
    re.compile(r"^[ \t]*([A-J])[.:][ \t]*", re.MULTILINE),
    re.compile(r"(?<=\s)\(?([A-J])\)[ \t]+"),
)
"""How the options of a question begin: on lines of their own, or else in one line, after a sentence
that ends: "(A) the arrow" may be a part of one."""

_FIGURE = re.compile(r"figure_(\w+)\.\w+")


class ChestAgentBench(Exam):
    """ChestAgentBench. Its arguments are those of `PublishedSource`."""

    name = "chestagentbench"
    splits = ("test",)
    card = Card(
        name="chestagentbench",
        title="ChestAgentBench",
        home="https://github.com/bowang-lab/MedRAX",
        repo="wanglab/chest-agent-bench",
        revision="921e60440927f9893228d843c0206b755744252a",
        licence="see its page; the figures are Eurorad's, under Eurorad's terms",
        citation=(
            "Fallahpour et al., MedRAX: Medical Reasoning Agent for Chest X-ray, ICML 2025 "
            "(arXiv 2502.02673)"
        ),
        splits={"test": SplitCounts(2500)},
        files=(
            PublishedFile(
                "metadata.jsonl",
                sha256="45e429e3a3b8e4dbfa064cbdaa3f2960bee90cad9e0f25501e38da67597bc2a8",
            ),
            PublishedFile(
                "figures.zip",
                sha256="8d5ac156c267046aadf54f20d961896c6e73d31ec59b8f635d1b208fa1444226",
            ),
        ),
        grouping="`case_id`: the case of Eurorad",
        layout="metadata.jsonl, and figures.zip or the folder figures that it unpacks to",
        faults=(
            "options stand in the text of the question; they are cut out",
            "its paper has 675 cases; the published file was counted to have 609",
            "some images are CT, MR or ultrasound, and nothing says which",
        ),
    )

    def items(self, split: str) -> list[Item]:
        """See `Exam.items`."""
        path = self.file("metadata.jsonl")
        rows = json_lines(path)
        every = (name for _, row in rows for name in _names(row))
        images = ImageFiles(self.file(_TOP, f"{_TOP}.zip"), every)
        items = []
        for number, row in rows:
            place = f"line {number} of {path}"
            names = _names(row)
            published, letter = field(row, "question", place), field(row, "answer", place)
            question, options = cut_options(published)
            answer = lettered(letter, options)
            item = Item(
                key=field(row, "question_id", place),
                file=Path(path).name,
                number=number,
                group=field(row, "case_id", place),
                images=names,
                ref=images.ref,
                question=question,
                options=options,
                answer=answer,
                context=_figures(names),
                body_part="CHEST",
                fault=outside(names),
            )
            if not options:
                item = replace(item, fault="its options cannot be told from its question")
            elif not answer:
                item = replace(item, fault=no_such_letter(letter, options))
            items.append(item)
        return items


def cut_options(text: str) -> tuple[str, tuple[str, ...]]:
    """A question and the options that end it; no options where they cannot be told."""
    for mark in _MARKS:
        found = list(mark.finditer(text))
        starts = [place for place, each in enumerate(found) if each[1] == "A"]
        if not starts:
            continue
        found = found[starts[-1] :]
        letters = "".join(each[1] for each in found)
        if len(found) < 2 or not "ABCDEFGHIJ".startswith(letters):
            continue
        ends = [each.start() for each in found[1:]] + [len(text)]
        options = tuple(
            text[each.end() : end].strip() for each, end in zip(found, ends, strict=True)
        )
        question = text[: found[0].start()].strip()
        ends_before = mark is not _MARKS[-1] or question.endswith((".", "?", ":", "!"))
        if question and all(options) and ends_before:
            return question, options
    return text, ()


def _names(row: Row) -> tuple[str, ...]:
    """The names of the images of a row, in the folder at the top of the zip."""
    return tuple(name.removeprefix(f"{_TOP}/") for name in _flat(row.get("images")))


def _flat(images: object) -> Iterator[str]:
    """The paths in a text, a list of texts, or a list of lists of them."""
    if isinstance(images, str):
        yield images
    elif isinstance(images, list):
        for each in images:
            yield from _flat(each)


def _figures(names: tuple[str, ...]) -> str:
    """Which image is which figure, where file names say so."""
    found = [_FIGURE.fullmatch(Path(name).name) for name in names]
    said = [f"image {place} is figure {each[1]}" for place, each in enumerate(found) if each]
    return f"In the question, {', '.join(said)}." if said else ""
