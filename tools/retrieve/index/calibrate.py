"""Calibrates an index: losses of held-out cases, and the number of documents that they allow."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medgym.case_images import names_of, opened_images
from medgym.cases import Case, CaseList, normalised
from medgym.errors import RunError, UserError
from medgym.files import read_text
from medgym.imaging.opened import UnreadableImage
from medgym.workspace import Workspace

from ..guard import allowed
from ..indexed import MOST, modalities_of
from .manifest import RiskBound, read_manifest, write_manifest
from .risk import p_values, smallest_safe
from .search import Match, Query, SearchIndex

LONGEST = 300
"""Characters of a query."""

MISSED = "no document that is handed out has the answer"


class _Loss(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    case: str
    k: int = Field(ge=1, le=MOST)
    loss: float = Field(ge=0, le=1, allow_inf_nan=False)


def calibrate(
    folder: Path, losses: dict[int, list[float]], alpha: float, delta: float, what: str, of: str
) -> RiskBound:
    """Find the least k whose risk is under alpha, and write it into the index.

    Args:
        losses: for each k that of each held-out case.
        what: what a loss is. of: where the cases come from.

    Raises:
        UserError: there is no index.
        RunError: no k is proven to keep the risk under alpha.
    """
    manifest = read_manifest(folder)
    numbers = sorted(losses)
    p = np.array([p_values(np.array(losses[k])[:, None], alpha)[0] for k in numbers])
    place = int(smallest_safe(p, delta))
    risks = {k: float(np.mean(losses[k])) for k in numbers}
    if place < 0:
        said = ", ".join(f"{risk:.3f} at k={k}" for k, risk in risks.items())
        raise RunError(
            f"no k keeps the risk under {alpha:g} with a probability of {1 - delta:g} on "
            f"{len(losses[numbers[0]])} cases ({said}); fix: give more cases or a greater --alpha"
        )
    made = RiskBound(
        k=numbers[place], alpha=alpha, delta=delta, loss=what, cases=of,
        count=len(losses[numbers[place]]), risks=risks,
        p_values={k: float(value) for k, value in zip(numbers, p, strict=True)},
    )  # fmt: skip
    write_manifest(folder, manifest.model_copy(update={"calibration": made}))
    return made


def missed(
    index: SearchIndex, cases: CaseList, advance: Callable[[int], None]
) -> dict[int, list[float]]:
    """For each k whether the answer is in none of the first k documents, for each group of cases.

    A query is a case's question, and its first image where the index has images. Of each group
    only the first case counts, since cases of one patient are not independent.
    """
    losses: dict[int, list[float]] = {k: [] for k in range(1, MOST + 1)}
    for case, found in _searched(index, cases, advance):
        hits = [_has_answer(each, case) for each in found]
        for k, values in losses.items():
            values.append(0.0 if any(hits[:k]) else 1.0)
    if not losses[1]:
        raise UserError("no held-out case has a gold answer and images that open; fix: name others")
    return losses


def _searched(
    index: SearchIndex, cases: CaseList, advance: Callable[[int], None]
) -> Iterator[tuple[Case, list[Match]]]:
    seen: set[tuple[str, str]] = set()
    for case in cases:
        advance(1)
        if (case.source, case.group) in seen or not case.answer:
            continue
        seen.add((case.source, case.group))
        try:
            images = opened_images(case)
        except UnreadableImage:
            continue
        sizes = images[0].start.view_sizes if images else None
        workspace = Workspace(images, view_size=sizes[-1] if sizes else 448, names=names_of(case))
        shows = images and any(space.images for space in index.manifest.spaces)
        query = Query(
            case.question[:LONGEST],
            workspace.view(0).picture if shows else None,
            modalities=modalities_of(workspace),
        )

        yield case, index.find(query, MOST, partial(allowed, workspace=workspace))


def _has_answer(found: Match, case: Case) -> bool:
    golds = {normalised(gold) for gold in case.golds}
    if found.document.split is not None:
        return any(normalised(answer) in golds for answer in found.document.answers)
    text = f" {normalised(found.document.text)} "
    return any(f" {gold} " in text for gold in golds)


def read_losses(path: Path) -> dict[int, list[float]]:
    """Losses of JSON lines `{"case", "k", "loss"}`, such as those of a policy with k documents.

    Raises:
        UserError: a line is wrong, or a case has no loss for a k that others have; it is named.
    """
    rows: dict[int, dict[str, float]] = {}
    for number, line in enumerate(read_text(path, "file of losses").splitlines(), start=1):
        try:
            row = _Loss.model_validate(json.loads(line))
        except (ValueError, ValidationError) as error:
            raise UserError(
                f'{path}, line {number} is no {{"case", "k": 1 to {MOST}, "loss": 0 to 1}}; fix: '
                "correct it"
            ) from error
        if row.case in rows.setdefault(row.k, {}):
            raise UserError(
                f"{path}, line {number}: {row.case!r} has two losses at k={row.k}; fix: keep one"
            )
        rows[row.k][row.case] = row.loss
    if not rows:
        raise UserError(f"{path} holds no losses; fix: name another file")
    every = set().union(*rows.values())
    for k, found in rows.items():
        for case in sorted(every - set(found)):
            raise UserError(f"{path}: {case!r} has no loss at k={k}; fix: add it")
    return {k: [found[case] for case in sorted(found)] for k, found in sorted(rows.items())}
