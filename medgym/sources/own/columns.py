"""Which column of a table is what: said, else guessed from the usual names."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from medgym.errors import UserError

NONE = "-"
"""What a spec writes where a table has no such column."""

GUESSES: Mapping[str, tuple[str, ...]] = {
    "image": (
        *("image", "images", "image_path", "image_paths", "img", "img_path", "image_file"),
        *("image_name", "img_name", "file_name", "filename", "file", "figure_path", "picture"),
        *("image_id", "dicom", "dicom_path", "study", "study_path", "series", "scan", "volume"),
        *("studyinstanceuid", "seriesinstanceuid", "study_uid", "series_uid", "path"),
    ),
    "question": ("question", "query", "prompt", "problem"),
    "options": ("options", "choices", "answer_choices", "candidates"),
    "answer": (
        *("answer", "gold", "gold_answer", "gt_answer", "ground_truth", "correct_answer", "label"),
        *("target", "anwser", "answer_label", "answer_letter", "answer_idx", "answer_index"),
        *("correct_option", "correct_index", "solution"),
    ),
    "accepted": ("accepted", "accepted_answers", "alternatives", "aliases", "synonyms"),
    "patient": (
        *("patient", "patient_id", "patientid", "subject", "subject_id", "participant_id"),
        *("person", "person_id", "group"),
    ),
    "id": ("id", "qid", "question_id", "uid"),
    "split": ("split", "subset", "partition"),
    "region": ("region", "regions", "box", "boxes", "bbox", "bboxes", "bounding_box"),
    "context": ("context", "history", "clinical_history", "indication"),
    "modality": ("modality", "image_modality"),
    "body_part": ("body_part", "bodypart", "body_region", "organ", "image_organ"),
    "specialty": ("specialty", "speciality"),
    "language": ("language", "lang", "q_lang"),
    "type": ("answer_type", "type"),
}
"""The usual names of each kind of column, the likeliest first, as `plain` has them."""

SEVERAL = ("image", "options", "accepted")
"""What several columns together can be."""

_NUMBERED = {
    "image": re.compile(r"(?:image|img)_?(?:path_?)?(\d+)"),
    "options": re.compile(r"(?:options?|choices?|op)_?([a-z]|\d+)|([a-z])"),
}


def plain(name: str) -> str:
    """A column's name without case and punctuation."""
    return re.sub(r"[^0-9a-z]+", "_", name.casefold()).strip("_")


@dataclass(frozen=True)
class Columns:
    """The columns of each kind; empty where there is none."""

    image: tuple[str, ...] = ()
    question: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    patient: tuple[str, ...] = ()
    id: tuple[str, ...] = ()
    split: tuple[str, ...] = ()
    region: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    modality: tuple[str, ...] = ()
    body_part: tuple[str, ...] = ()
    specialty: tuple[str, ...] = ()
    language: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    unused: tuple[str, ...] = field(default=(), compare=False)

    def items(self) -> list[tuple[str, tuple[str, ...]]]:
        """Each kind with its columns."""
        return [(each.name, getattr(self, each.name)) for each in fields(self)]


def columns_of(
    path: str | Path, names: Sequence[str], given: Mapping[str, str], without: Sequence[str] = ()
) -> Columns:
    """The columns of a table.

    Args:
        path: by which errors name the table.
        names: of all its columns.
        given: what a spec says of some kinds; several columns are joined by `+`, and `-` is none.
        without: kinds that are not guessed, since something else says what they are.

    Raises:
        UserError: a column that is named is missing, or none can be found for the image, the
            question or the answer.
    """
    found: dict[str, tuple[str, ...]] = {}
    for kind, value in given.items():
        found[kind] = () if value == NONE else _named(path, names, kind, value)
    taken = {name for columns in found.values() for name in columns}
    for kind in GUESSES:
        if kind in found or kind in without:
            continue
        found[kind] = _guessed(kind, [name for name in names if name not in taken])
        taken.update(found[kind])
    known = ", ".join(names)
    for kind in ("question", "image"):
        if not found[kind] and given.get(kind) != NONE:
            rest = ", or image=- for questions without images" if kind == "image" else ""
            raise UserError(
                f"{path} has no column that looks like the {kind}, but {known}; fix: write "
                f"{kind}=COLUMN{rest}"
            )
    if not found["question"]:
        raise UserError(f"question=- leaves {path} without questions; fix: name their column")
    if not found["answer"] and not found["region"]:
        raise UserError(
            f"{path} has no column that looks like the answer, but {known}; fix: write "
            "answer=COLUMN"
        )
    unused = tuple(name for name in names if name not in taken)
    return Columns(**found, unused=unused)


def _named(path: str | Path, names: Sequence[str], kind: str, value: str) -> tuple[str, ...]:
    if value in names:
        return (value,)
    parts = value.split("+")
    for part in parts:
        if part not in names:
            near = difflib.get_close_matches(part, names, n=1)
            fix = f"did you mean {near[0]!r}?" if near else f"its columns are {', '.join(names)}"
            raise UserError(f"{path} has no column {part!r} for the {kind}; fix: {fix}")
    if len(parts) > 1 and kind not in SEVERAL:
        raise UserError(f"{kind}={value} names {len(parts)} columns; fix: name one")
    return tuple(parts)


def _guessed(kind: str, names: Sequence[str]) -> tuple[str, ...]:
    by_plain = {plain(name): name for name in reversed(names)}
    for guess in GUESSES[kind]:
        if guess in by_plain:
            return (by_plain[guess],)
    if kind not in _NUMBERED:
        return ()
    marks: dict[int, str] = {}
    for name in names:
        match = _NUMBERED[kind].fullmatch(plain(name))
        if match is not None:
            mark = next(part for part in match.groups() if part)
            marks[int(mark) if mark.isdecimal() else ord(mark) - ord("a") + 1] = name
    if kind == "image":
        return tuple(marks[number] for number in sorted(marks))
    first = 0 if 0 in marks else 1
    row = [marks[n] for n in range(first, first + len(marks)) if n in marks]
    return tuple(row) if len(row) > 1 else ()
