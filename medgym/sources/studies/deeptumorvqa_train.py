"""The training questions of DeepTumorVQA: a large CSV file, looked at by whole columns."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medgym.sources.arrow_rows import ArrowRows, give_back, spooled, texts
from medgym.sources.own.delimited import batches, header
from medgym.sources.studies.files import check_keys

if TYPE_CHECKING:
    import pyarrow

NUMBER = "row"
"""The column of the number of a row, which has no other name in the file."""

_OPTIONS = (
    r"(?s)^.*?\sA:\s+(?P<A>\S.*?)\s+B:\s+(?P<B>\S.*?)"
    r"(?:\s+C:\s+(?P<C>\S.*?))?(?:\s+D:\s+(?P<D>\S.*?))?\s*$"
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
    numbers = pyarrow.py_buffer(np.arange(table.num_rows, dtype=np.int32))
    column = pyarrow.Array.from_buffers(pyarrow.int32(), table.num_rows, [None, numbers])
    return ArrowRows(table.append_column(NUMBER, column))


def suspects(table: "pyarrow.Table") -> Iterable[int]:
    """The numbers of the rows that have to be looked at one by one. In all others the answer is the
    text of the right option, letter for letter, so that nothing is wrong with them."""
    import pyarrow.compute as compute

    if "answer" not in table.column_names:
        return range(table.num_rows)
    # A literal would be made a scalar, which imports pandas where it is installed.
    options = compute.extract_regex(table["mc_question"], _OPTIONS)
    letter, answer = table["correct_option"], table["answer"]
    good: Any = None
    for each in "ABCD":
        is_letter = compute.is_in(letter, value_set=texts(each))
        is_text = compute.equal(compute.struct_field(options, each), answer)
        right = compute.and_kleene(is_letter, is_text)
        good = right if good is None else compute.or_kleene(good, right)
    for column, pattern in (("question", r"\S"), ("image_id", r"^\w[\w.-]*$"), ("answer", r"\S")):
        good = compute.and_kleene(good, compute.match_substring_regex(table[column], pattern))
    wrong = compute.invert(compute.and_kleene(good, compute.is_valid(good)))  # null is not good
    found = [number.as_py() for number in compute.indices_nonzero(wrong)]
    give_back()
    return found
