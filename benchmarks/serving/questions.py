"""Questions about images that no server has seen, for all sides alike.

Every image is another one, as large as a view, so that all sides send the same pixels. The text of
the question is always the same.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medgym.cases import Case, write_cases
from medgym.episode import Rules
from medgym.imaging.study import ImageRef
from medgym.messages import Message

SIDE = 64
"""Pixels of a side. To encode an image takes longer the larger it is, and no server is needed to
measure that."""

OPTIONS = ("striated", "granular", "banded", "oblique")


@dataclass(frozen=True)
class Questions:
    """Questions in a folder.

    Attributes:
        cases: a file of cases, as `medgym eval` reads it.
        chat: a file with a JSON object a line: `id`, `text` of the system and of the question,
            `image`, `options` and the right `letter`, for all other sides.
    """

    cases: Path
    chat: Path


def write_questions(folder: Path, number: int, side: int = SIDE) -> Questions:
    """Write questions, with images that were never written before."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(int.from_bytes(os.urandom(8), "big"))
    cases = [_case(folder / f"{index}.png", index, side, rng) for index in range(number)]
    questions = Questions(folder / "cases.jsonl", folder / "chat.jsonl")
    write_cases(cases, questions.cases)
    rules = Rules.for_cases(cases, tools=(), max_turns=1, view_size=side)
    with questions.chat.open("w", encoding="utf-8") as file:
        for case, image in zip(cases, sorted(folder.glob("*.png"), key=_index), strict=True):
            file.write(json.dumps(_as_chat(case, image, rules.begin(case).messages)) + "\n")
    return questions


def _case(file: Path, index: int, side: int, rng: np.random.Generator) -> Case:
    """A smooth picture with some grain, as scans are, and a question about it."""
    coarse = rng.integers(0, 200, (side // 16, side // 16), np.uint8)
    smooth = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    grain = rng.integers(0, 24, (side, side), np.uint8)
    grey = np.asarray(smooth) // 2 + grain
    Image.fromarray(grey.astype(np.uint8)).convert("RGB").save(file)
    return Case(
        id=f"served/test/{index}",
        images=(ImageRef(uri=file.resolve().as_uri()),),
        question="Which texture does the image have?",
        options=OPTIONS,
        answer=OPTIONS[index % len(OPTIONS)],
        answer_type="choice",
        group=str(index),
        source="served",
        split="test",
    )


def _index(file: Path) -> int:
    return int(file.stem)


def _as_chat(case: Case, image: Path, messages: tuple[Message, ...] | list[Message]) -> Any:
    system, question = messages
    return {
        "id": case.id,
        "system": system.text,
        "text": question.text,
        "image": str(image),
        "options": list(OPTIONS),
        "letter": "ABCD"[OPTIONS.index(case.answer)],
    }
