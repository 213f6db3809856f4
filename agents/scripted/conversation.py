"""What scripted policies read in a conversation, and the calls and answers that they write."""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from medgym.cases import LETTERS, Case
from medgym.messages import Message, render_call
from medgym.metrics.regions import findings
from medgym.regions import Region

_OPTION = re.compile(r"^([A-Z])\. ", re.MULTILINE)
_SIZE = re.compile(r"^View (\d+): image \1(?:, prior)?, (\d+) x (\d+) pixels[.,]", re.MULTILINE)


def letters(conversation: Sequence[Message]) -> list[str]:
    """The letters of the options in the question."""
    _, offered, options = conversation[1].text.rpartition("\nOptions:\n")
    return _OPTION.findall(options) if offered else []


def guess(conversation: Sequence[Message], rng: np.random.Generator) -> str:
    """One of the options' letters, each equally often; "yes" or "no" where there are none."""
    return str(rng.choice(letters(conversation) or ["yes", "no"]))


def gold_of(case: Case) -> str:
    """The gold as it is answered: an option's letter, else the text. Where the case asks for its
    own regions, these."""
    if case.answer in case.options:
        return LETTERS[case.options.index(case.answer)]
    if case.answer_type == "region" and not case.answer.strip():
        return json.dumps([_answered(region) for region in findings(case)])
    return case.answer


def _answered(region: Region) -> dict[str, Any]:
    """A region as an answer names it."""
    mask = None if region.mask is None else region.mask.model_dump(mode="json")
    named: dict[str, Any] = {"box": region.box_px} if mask is None else {"mask": mask}
    named["image"] = region.image
    return named if region.index is None else named | {"index": region.index, "count": region.count}


def size_of(conversation: Sequence[Message], image: int) -> tuple[int, int]:
    """(width, height) of an image in original pixels, from the question."""
    sizes = {int(n): (int(w), int(h)) for n, w, h in _SIZE.findall(conversation[1].text)}
    return sizes[image]


def scale_of(conversation: Sequence[Message], view: int) -> tuple[float, float]:
    """The sides of one of the first views in the coordinates of this episode."""
    if "in pixels of its view" not in conversation[0].text:
        return 1000.0, 1000.0
    width, height = conversation[1].images[view].image.size
    return float(width), float(height)


def zoom_call(conversation: Sequence[Message], view: int, box: Sequence[int]) -> str:
    """A call on one of the first views. `box` is in thousandths."""
    scale = scale_of(conversation, view)
    if scale == (1000.0, 1000.0):
        return render_call("zoom", {"view": view, "box": list(box)})
    scaled = [v * s / 1000 for v, s in zip(box, scale * 2, strict=True)]
    return render_call("zoom", {"view": view, "box": scaled})
