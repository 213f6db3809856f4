"""Rows of a large table, which lie in a file and not in memory.

A million rows of text take more memory as Python's objects than most machines have. Here they are
written once, block by block, to a temporary file in Arrow's own form, which nobody else sees. The
system maps it: a row costs no memory before it is asked for, and the system takes that back when
others need it.
"""

import mmap
import tempfile
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from medgym.arrow_columns import column_of
from medgym.lazy_sequence import LazySequence

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

RADIX = 0x9E3779B97F4A7C15
"""Odd, so that it has an inverse modulo 2**64."""

OFTEN = 16
"""Blocks after which Arrow gives back what it has freed."""

_MAPPED: list[ref[mmap.mmap]] = []


def spooled(batches: "Iterable[pyarrow.RecordBatch]", schema: "pyarrow.Schema") -> "pyarrow.Table":
    """A table whose columns lie in a temporary file, which lasts as long as the table.

    Args:
        batches: such as `pyarrow.csv.open_csv(...)` or `ParquetFile.iter_batches(...)`; no two of
            them are held at once.
        schema: of each of them.
    """
    import pyarrow

    pool = pyarrow.default_memory_pool()
    with tempfile.NamedTemporaryFile(prefix="medgym-") as file:
        with (
            pyarrow.OSFile(file.name, "wb") as sink,
            pyarrow.ipc.new_file(sink, schema) as writer,
        ):
            for number, batch in enumerate(batches):
                writer.write_batch(batch)
                if number % OFTEN == 0:
                    pool.release_unused()
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    pool.release_unused()
    table: pyarrow.Table = pyarrow.ipc.open_file(pyarrow.py_buffer(mapped)).read_all()
    _MAPPED[:] = [each for each in _MAPPED if each() is not None] + [ref(mapped)]
    return table


def give_back() -> None:
    """Give back what Arrow has freed, and the memory of the columns of all spooled tables after
    they were looked at; they are read again where they are asked for."""
    import pyarrow

    pyarrow.default_memory_pool().release_unused()
    for mapped in filter(None, (each() for each in _MAPPED)):
        if hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)


def texts(*words: str) -> "pyarrow.Array":
    """A column of a few texts."""
    import pyarrow

    return column_of(words, pyarrow.string())


def where(true: "pyarrow.Array | pyarrow.ChunkedArray") -> "NDArray[np.uint64]":
    """The places at which a column is true, without `to_numpy`, which imports pandas too."""
    import pyarrow.compute

    found = pyarrow.compute.indices_nonzero(true)
    return np.frombuffer(found.buffers()[1] or b"", np.uint64)[: len(found)]


def are_hashes_different(chunks: "Iterable[pyarrow.StringArray]") -> bool:
    """Whether all texts of a column differ from each other, by their hashes.

    True is certain. False may be wrong, if two hashes are equal by chance, so look again then. It
    takes eight bytes a text, where Arrow's table of distinct texts takes 70.

    A hash is the sum of b[i] * RADIX**i over the bytes b of a text, modulo 2**64, which is had of
    all texts of a chunk from one running sum over its bytes.
    """
    found: list[NDArray[np.uint64]] = []
    for chunk in chunks:
        _, ends, held = chunk.buffers()
        places = np.frombuffer(ends, np.int32)[chunk.offset :][: len(chunk) + 1].astype(np.int64)
        text = np.frombuffer(held or b"", np.uint8)[places[0] : places[-1]]
        places -= places[0]
        sums = np.zeros(len(text) + 1, np.uint64)
        np.cumsum((text + np.uint64(1)) * _powers(RADIX, len(text)), out=sums[1:])
        inverse = _powers(pow(RADIX, -1, 2**64), len(text) + 1)
        found.append((sums[places[1:]] - sums[places[:-1]]) * inverse[places[:-1]])
    hashes = np.concatenate(found) if found else np.zeros(0, np.uint64)
    hashes.sort()
    return not bool((hashes[1:] == hashes[:-1]).any())


def _powers(base: int, count: int) -> "NDArray[np.uint64]":
    """1, base, base**2, ..., modulo 2**64."""
    powers = np.full(count, base, np.uint64)
    powers[:1] = 1
    return np.cumprod(powers)


class ArrowRows(LazySequence[dict[str, Any]]):
    """The rows of an Arrow table, each made when it is asked for, by the names of its columns.

    Args:
        table: whose column names differ from each other.

    Attributes:
        table: as the argument, for what can be asked of whole columns.
    """

    def __init__(self, table: "pyarrow.Table") -> None:
        self.table = table
        self._columns = dict(zip(table.column_names, table.columns, strict=True))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def item(self, index: int) -> dict[str, Any]:
        """Read a row."""
        return {name: column[index].as_py() for name, column in self._columns.items()}
