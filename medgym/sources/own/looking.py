"""Which rows are seen to make a case from whole columns, so that a million need not be made."""

from typing import TYPE_CHECKING

import numpy as np

from medgym.cases import LETTERS
from medgym.sources.arrow_rows import texts, where
from medgym.sources.own.columns import Columns
from medgym.sources.own.reading import Look, Rows

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

    from medgym.sources.own.cases import Told


def look_at(rows: Rows, columns: Columns, told: "Told") -> Look | None:
    """What sees from the columns of a batch which rows make a case; all others are made to know.

    None where each row has to be looked at by itself: lists of options, boxes, accepted answers.
    """
    if len(columns.options) == 1 or len(columns.options) > len(LETTERS):
        return None
    if columns.region or columns.accepted or columns.type:
        return None
    if told.type not in (None, "open"):
        return None
    files = [name for name in columns.image if name not in rows.files[0].images]

    def look(batch: "pyarrow.RecordBatch") -> "NDArray[np.bool_]":
        import pyarrow.compute as compute

        nothing = texts("")

        def holds(name: str) -> "pyarrow.Array":
            column = batch.column(name)
            empty = compute.is_in(column, value_set=nothing)
            return compute.invert(compute.or_(empty, compute.utf8_is_space(column)))

        good = compute.and_(holds(columns.question[0]), holds(columns.answer[0]))
        for name in columns.id:
            good = compute.and_(good, holds(name))
        for name in files:
            # A list, several names or an address are looked at by themselves.
            plain = compute.match_substring_regex(batch.column(name), r"^[^\s|\[{(][^|:]*$")
            good = compute.and_(good, compute.and_(holds(name), plain))
        if columns.options:
            good = compute.and_(good, _has_gold(batch, columns, told.gold))
            for name in columns.options:
                good = compute.and_(good, holds(name))
        seen = np.zeros(len(good), np.bool_)
        seen[where(good)] = True
        return seen

    return look


def _has_gold(batch: "pyarrow.RecordBatch", columns: Columns, gold: str) -> "pyarrow.Array":
    import pyarrow.compute as compute

    answer = batch.column(columns.answer[0])
    if gold != "text":
        signs = LETTERS if gold == "letter" else map(str, range(len(LETTERS)))
        known = list(signs)[: len(columns.options)]
        return compute.is_in(answer, value_set=texts(*known))
    found = compute.equal(answer, batch.column(columns.options[0]))
    for name in columns.options[1:]:
        found = compute.or_(found, compute.equal(answer, batch.column(name)))
    return found
