"""Cases as a `datasets.Dataset` with embedded images, in the columns that trainers take."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from medgym.case_images import opened_images
from medgym.cases import LETTERS, Case, CaseList
from medgym.errors import UserError
from medgym.imaging.opened import UnreadableImage
from medgym.imaging.study import Study

LONGEST = 1024
"""The longest side of an exported image; a smaller one keeps its size."""

_BATCH = 32


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        rows: how many cases.
        unreadable: the cases left out because an image cannot be read, and why.
    """

    rows: int
    unreadable: tuple[tuple[str, str], ...]


def export_cases(
    cases: CaseList, out: Path, *, gold: bool, advance: Callable[[], None] = lambda: None
) -> Exported:
    """Write cases into a folder that `datasets.load_from_disk` reads. One is in memory at a time.

    Raises:
        UserError: the folder holds something, or every case is unreadable.
    """
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()  # the cases are counted already

    _check_new(out)
    unreadable: list[tuple[str, str]] = []

    def rows() -> Iterator[dict[str, Any]]:
        for case in cases:
            try:
                images = [_png(image.start) for image in opened_images(case)]
                yield row_of(case, images, gold=gold)
            except UnreadableImage as error:
                unreadable.append((case.id, str(error)))
            advance()

    out.parent.mkdir(parents=True, exist_ok=True)
    work = out.parent / f".tmp-{out.name}-{secrets.token_hex(4)}"
    try:
        made = Dataset.from_generator(
            rows,
            features=_features(gold),
            cache_dir=str(work / "cache"),
            fingerprint=secrets.token_hex(8),
            writer_batch_size=_BATCH,
        )
        made.save_to_disk(str(work / "whole"))
        count = len(made)
        del made
        _check_new(out)  # another command may have come first
        if out.exists():
            out.rmdir()
        (work / "whole").rename(out)
    except Exception as error:
        if cases and len(unreadable) == len(cases):
            raise UserError(
                f"no case can be exported: {unreadable[0][1]}; fix: check where the images are"
            ) from error
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Exported(count, tuple(unreadable))


def row_of(case: Case, images: list[dict[str, Any]], *, gold: bool) -> dict[str, Any]:
    """A case as a row: `prompt`, `images` and `answer` as TRL and verifiers take them, and what the
    case says beside."""
    asked = [f"Context: {case.context}"] if case.context else []
    asked.append(case.question)
    asked += [f"{a}. {text}" for a, text in zip(LETTERS, case.options, strict=False)]
    row: dict[str, Any] = {
        "id": case.id,
        "prompt": [{"role": "user", "content": "\n".join(asked)}],
        "images": images,
        "question": case.question,
        "options": list(case.options),
        "answer_type": case.answer_type,
        "modality": case.modality,
        "language": case.language,
        "group": case.group,
        "source": case.source,
        "split": case.split,
        "licence": case.licence,
    }
    if gold:
        row |= {"answer": case.answer, "accepted": list(case.accepted)}
    return row


def _features(gold: bool) -> Any:
    from datasets import Features, Image, List, Value

    text = Value("string")
    made = {
        "id": text,
        "prompt": List({"role": text, "content": text}),
        "images": List(Image()),
        "question": text,
        "options": List(text),
        "answer_type": text,
        "modality": text,
        "language": text,
        "group": text,
        "source": text,
        "split": text,
        "licence": text,
    }
    if gold:
        made |= {"answer": text, "accepted": List(text)}
    return Features(made)


def _png(study: Study) -> dict[str, Any]:
    """An image as an episode starts with it, in its own window, as PNG."""
    width, height = study.size
    scale = min(1.0, LONGEST / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    stream = BytesIO()
    study.render((0.0, 0.0, float(width), float(height)), size).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


def _check_new(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out} is there already; fix: name a new or an empty folder")
