"""The training questions of DeepTumorVQA: a large CSV file, looked at by whole columns."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medgym.sources.arrow_rows import ArrowRows, spooled
from medgym.sources.own.delimited import batches, header
from medgym.sources.studies.files import check_keys

if TYPE_CHECKING:
    import pyarrow

NUMBER = "row"
"""The column of the number of a row, which has no other name in the file."""

_OPTIONS = (
    r"(?s)^.*?\sA:\s+(?P<A>.*?)\s+B:\s+(?P<B>.*?)(?:\s+C:\s+(?P<C>.*?))?(?:\s+D:\s+(?P<D>.*?))?\s*$"
)


def train_rows(path: Path, needed: Sequence[str]) -> ArrowRows:
    """The rows of the file, all cells as text, with their numbers.

    Raises:
        UserError: it cannot be read, or lacks a column.
    """
    import pyarrow

    names = header(path, ",")
    check_keys(dict.fromkeys(names), needed, str(path))
    schema = pyarrow.schema([(name, pyarrow.string()) for name in names])
    table = spooled(batches(path, ","), schema)
    numbers = pyarrow.array(np.arange(table.num_rows, dtype=np.int32))
    return ArrowRows(table.append_column(NUMBER, numbers))


def suspects(table: "pyarrow.Table") -> Iterable[int]:
    """The numbers of the rows that have to be looked at one by one. In all others the answer is the
    text of the right option, letter for letter, so that nothing is wrong with them."""
    import pyarrow
    import pyarrow.compute as compute

    if "answer" not in table.column_names:
        return range(table.num_rows)
    options = compute.extract_regex(table["mc_question"], _OPTIONS)
    letter = table["correct_option"]
    good: Any = None
    for each in "ABCD":
        text = compute.struct_field(options, each)
        right = compute.and_(compute.equal(letter, each), compute.equal(text, table["answer"]))
        good = right if good is None else compute.or_kleene(good, right)
    for column, pattern in (("question", r"\S"), ("image_id", r"^\w[\w.-]*$"), ("answer", r"\S")):
        good = compute.and_(good, compute.match_substring_regex(table[column], pattern))
    wrong = compute.invert(compute.fill_null(good, pyarrow.scalar(False)))
    found: Iterable[int] = np.flatnonzero(wrong.to_numpy()).tolist()
    return found
