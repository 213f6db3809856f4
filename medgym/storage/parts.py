"""The bytes of a Parquet part. A part holds the hash of its own bytes, and readers check it.

The hash is in the file that it is of. So a part is whole or it is not, whatever process wrote it,
wherever it was copied, and whenever its writer was killed. It covers every byte but its own 64
digits: pages, dictionaries, statistics, page headers and the footer. Pages carry checksums too, for
other readers of Parquet. Parts of versions before there was a hash are read as they are.
"""

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgym.errors import UserError
from medgym.failures import reason_of

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

KEY = b"medgym.hash"
"""The key of the hash in the part's metadata."""

_SIGN = b"medgym.sha256="
_BLANK = b"0" * 64
_SEAL = re.compile(re.escape(_SIGN) + rb"([0-9a-f]{64})")


def part_number(path: Path) -> int:
    """The number in the name of a part; `UserError` where there is none."""
    number = path.stem.removeprefix("part-")
    if not (number.isascii() and number.isdecimal()):
        raise UserError(f"{path} is not named as a part is; fix: remove it, or give it its name")
    return int(number)


def part_bytes(table: "pyarrow.Table") -> bytes:
    """A table as a part."""
    import pyarrow.parquet

    buffer = io.BytesIO()
    with pyarrow.parquet.ParquetWriter(
        buffer, table.schema, compression="zstd", write_page_checksum=True
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({KEY: _SIGN + _BLANK})
    data = bytearray(buffer.getvalue())
    start = data.rindex(_SIGN) + len(_SIGN)
    data[start : start + len(_BLANK)] = _hash_around(data, start).encode()
    return bytes(data)


class Part:
    """A part that was read and is what was written.

    Args:
        path: where it is.

    Attributes:
        verified: whether it holds its hash; a part of an older version does not.

    Raises:
        UserError: it cannot be read, or does not hold what was written.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        self.path = path
        with readable(path):
            if not path.is_file():
                raise _Damaged("it is no file")
            data = path.read_bytes()
            self.verified = _is_sealed(data)  # first: Arrow is shown no damaged bytes
            self._file = pyarrow.parquet.ParquetFile(
                pyarrow.BufferReader(data), page_checksum_verification=True
            )
            if not self.verified and KEY in (self._file.metadata.metadata or {}):
                raise _Damaged("its hash cannot be read")

    def __len__(self) -> int:
        """How many rows it holds."""
        return int(self._file.metadata.num_rows)

    @property
    def schema(self) -> "pyarrow.Schema":
        """Its columns."""
        with readable(self.path):
            return self._file.schema_arrow.remove_metadata()

    def images(self) -> set[str]:
        """The hashes of the images that its trajectories show. No other column is read."""
        import pyarrow.compute

        column = "nodes.list.element.images.list.element.sha256"
        with readable(self.path):
            nodes = self._file.read(columns=[column])["nodes"]
            uses: Any = pyarrow.compute.list_flatten(nodes)
            uses = pyarrow.compute.list_flatten(pyarrow.compute.struct_field(uses, "images"))
            return set(pyarrow.compute.struct_field(uses, "sha256").unique().to_pylist())

    def table(self, columns: Sequence[str] | None = None) -> "pyarrow.Table":
        """Its rows, by default with all columns. They come without the hash, which is of these
        bytes only."""
        with readable(self.path):
            return self._file.read(columns=columns).replace_schema_metadata(None)


@contextmanager
def readable(part: Path) -> Iterator[None]:
    """Say of a part that cannot be read which one it is."""
    try:
        yield
    except UserError:
        raise
    except _Damaged as error:
        raise UserError(
            f"{part} cannot be read as trajectories ({error}); fix: restore it, or set it aside "
            "with medgym check run RUN --repair"
        ) from error
    except Exception as error:  # damaged bytes make Arrow and our own reading raise what they like
        raise UserError(
            f"{part} cannot be read as trajectories ({reason_of(error)}); fix: restore it, or "
            "read the run with the version of medgym that wrote it"
        ) from error


class _Damaged(Exception):
    """A part does not hold what was written."""


def _is_sealed(data: bytes) -> bool:
    """Whether a part holds its hash; raises where that is another one.

    The last sign is the part's own: what a policy wrote may stand before it, never after it.
    """
    seals = list(_SEAL.finditer(data, max(0, len(data) - _footer(data))))
    if not seals:
        return False
    if seals[-1][1].decode() != _hash_around(data, seals[-1].start(1)):
        raise _Damaged("its bytes are not those that were written")
    return True


def _footer(data: bytes) -> int:
    """How many bytes the footer takes, with its own length and the closing mark."""
    return int.from_bytes(data[-8:-4], "little") + 8


def _hash_around(data: bytes | bytearray, start: int) -> str:
    """sha256 of a part, with zeros for the digits that begin at `start`."""
    view = memoryview(data)
    digest = hashlib.sha256(view[:start])
    digest.update(_BLANK)
    digest.update(view[start + len(_BLANK) :])
    return digest.hexdigest()
