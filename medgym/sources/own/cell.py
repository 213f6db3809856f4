"""What a cell of a table means: a list, a box, a kind of answer, a modality."""

import ast
import json
import re
from functools import lru_cache
from typing import Any, get_args

from pydantic import ValidationError

from medgym.cases import LETTERS, AnswerType, normalised
from medgym.regions import Region

BAR = "|"
"""What stands between the items of a cell that holds several, where it is no list."""

TYPES: dict[str, AnswerType] = {
    **{each: each for each in get_args(AnswerType)},
    **dict.fromkeys(("multiple_choice", "mcq", "single_choice"), "choice"),
    **dict.fromkeys(("yes_no", "binary", "close", "close_ended", "closed_ended"), "closed"),
    **dict.fromkeys(("numeric", "numerical", "integer", "float"), "number"),
    **dict.fromkeys(("list", "multi_label"), "set"),
    **dict.fromkeys(("open_ended", "short_answer", "free_text", "text"), "open"),
    **dict.fromkeys(("box", "bbox", "mask", "grounding"), "region"),
}
"""The kinds of answers by the words that tables have for them."""

MODALITIES = {
    **{code.casefold(): code for code in ("CT", "MR", "CR", "DX", "US", "MG", "OP", "OCT", "OPT")},
    **{code.casefold(): code for code in ("SM", "ES", "XA", "NM", "PT", "PX", "IO", "XC", "OT")},
    **dict.fromkeys(("mri", "magnetic resonance", "magnetic resonance imaging"), "MR"),
    **dict.fromkeys(("computed tomography", "ct scan"), "CT"),
    **dict.fromkeys(("x-ray", "xray", "x ray", "radiograph", "radiography", "cxr"), "DX"),
    **dict.fromkeys(("ultrasound", "ultrasonography", "echocardiography"), "US"),
    **dict.fromkeys(("mammography", "mammogram"), "MG"),
    **dict.fromkeys(("fundus", "fundus photography", "fundus photo"), "OP"),
    **dict.fromkeys(("pathology", "histopathology", "histology", "microscopy"), "SM"),
    **dict.fromkeys(("endoscopy", "colonoscopy", "gastroscopy"), "ES"),
    **dict.fromkeys(("dermoscopy", "dermatoscopy"), "XC"),
    **dict.fromkeys(("pet", "positron emission tomography"), "PT"),
}
"""DICOM's codes of modalities, by these and by the usual words."""

_NUMBER = re.compile(r"[-+]?(?:0|[1-9]\d*)(?:\.\d+)?\s?(?:mm|cm|ml|%|HU)?")
_LETTER = re.compile(r"\W*([A-Za-z])\W*")


class RowFault(ValueError):
    """A row that makes no case; the text says why, and names the column."""


@lru_cache(maxsize=4096)
def items(text: str) -> tuple[str, ...]:
    """The items of a cell: those of a list or an object as JSON or Python has it, else what stands
    between bars. A blank cell has none; `null` and `None` in a list are blank.

    Raises:
        ValueError: it begins as a list does, and is none.
    """
    text = text.strip()
    if not text:
        return ()
    if text[0] not in "[{(":
        return tuple(part.strip() for part in text.split(BAR))
    try:
        found = literal(text)
    except ValueError:
        if text[0] == "[" and text[-1] == "]":
            raise
        return tuple(part.strip() for part in text.split(BAR))  # "(a) left | (b) right"
    found = list(found.values()) if isinstance(found, dict) else found
    if not isinstance(found, list | tuple):
        return (text,)
    if not all(isinstance(each, str | int | float | None) for each in found):
        raise ValueError("a list in a list")
    return tuple("" if each is None else str(each) for each in found)


def literal(text: str) -> Any:
    """A value as JSON or Python writes it; no code in it is run.

    Raises:
        ValueError: it is neither.
    """
    try:
        return json.loads(text, parse_int=str, parse_float=str)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise ValueError("no list") from error


def lettered(answer: str, options: tuple[str, ...], column: str) -> str:
    """The option that a letter names.

    Raises:
        RowFault: it is no letter of one.
    """
    match = _LETTER.fullmatch(answer)
    place = LETTERS.find(match[1].upper()) if match is not None else -1
    if not 0 <= place < len(options):
        raise RowFault(
            f"the answer {answer!r} (column {column!r}) is no letter of its {len(options)} options"
        )
    return options[place]


def indexed(answer: str, options: tuple[str, ...], column: str) -> str:
    """The option that a number names; the first is 0.

    Raises:
        RowFault: it is no number of one.
    """
    text = answer.strip().removesuffix(".0")
    if not text.isdecimal() or int(text) >= len(options):
        raise RowFault(
            f"the answer {answer!r} (column {column!r}) is no index of its {len(options)} options, "
            "from 0 on"
        )
    return options[int(text)]


def spelled(answer: str, options: tuple[str, ...]) -> str | None:
    """The option that an answer is the text of; case and blanks do not count where one is left."""
    if answer in options:
        return answer
    wanted = normalised(answer)
    alike = [option for option in options if normalised(option) == wanted]
    return alike[0] if len(set(alike)) == 1 else None


def guessed_type(answer: str) -> AnswerType:
    """What kind of answer a gold without options is."""
    if normalised(answer) in ("yes", "no"):
        return "closed"
    return "number" if _NUMBER.fullmatch(answer.strip()) else "open"


def modality(text: str) -> str | None:
    """DICOM's code of a modality; a word that is not known stays as it is."""
    text = text.strip()
    return MODALITIES.get(text.casefold(), text) or None


def regions(text: str, column: str) -> tuple[Region, ...]:
    """The boxes of a cell, x0, y0, x1, y1 in pixels of the image: four numbers, a list of such, or
    objects with `box` and, where it is known, `label` and `image`, in a volume `plane`, `index`
    and `count`.

    Raises:
        RowFault: it has another form.
    """
    text = text.strip()
    if not text:
        return ()
    try:
        found = literal(text) if text[0] in "[{(" else re.split(r"[\s,;]+", text)
        if isinstance(found, dict) or not isinstance(found[0], list | tuple | dict):
            found = [found]
        return tuple(_region(each) for each in found)
    except (ValueError, TypeError, LookupError, ValidationError) as error:
        raise RowFault(
            f"{text[:60]!r} (column {column!r}) is no box x0, y0, x1, y1 in pixels"
        ) from error


def _region(found: Any) -> Region:
    label, image = "finding", 0
    place: dict[str, Any] = {}
    if isinstance(found, dict):
        label, image = str(found.get("label", label)), int(found.get("image", image))
        place = {key: found[key] for key in ("plane", "index", "count") if key in found}
        found = next((found[key] for key in ("box", "bbox", "box_px") if key in found), None)
    x0, y0, x1, y1 = (float(value) for value in found)
    if not (x0 < x1 and y0 < y1):
        raise ValueError("an empty box")
    return Region(label=label, box_px=(x0, y0, x1, y1), image=image, **place)
