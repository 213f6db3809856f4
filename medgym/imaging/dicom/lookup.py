"""The lookup tables of a header: PS3.3 C.11.1.1.1, C.11.2.1.1 and C.7.6.3.1.5."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.errors import UserError
from medgym.imaging.dicom.functional_groups import FrameHeader


@dataclass(frozen=True, eq=False)
class StoredTable:
    """A table: value `first` has the first of `entries`, each of so many `bits`."""

    first: int
    bits: int
    entries: NDArray[np.uint16]

    def __call__(self, values: NDArray[Any]) -> NDArray[np.uint16]:
        """The entry of each value; those before and behind the table have its first and last."""
        places = np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return self.entries[places]


def table_of(
    header: FrameHeader, item: Any, descriptor: str, data: str, *, signed: bool
) -> StoredTable:
    """The table that two attributes of an item describe and hold.

    Args:
        signed: whether the values that are looked up may be negative, and with them the first.

    Raises:
        UserError: they do not fit each other.
    """
    wrong = UserError(f"the lookup table {data} of {header.path} is damaged; fix: replace it")
    described = header.numbers(item, descriptor)
    if len(described) != 3:
        raise wrong
    length, first, bits = (int(each) for each in described)
    length = (length & 0xFFFF) or 2**16  # 65,536 does not fit into its 16 bits
    if signed and first >= 2**15:  # some writers say US where the values are signed
        first -= 2**16
    elif not signed and first < 0:
        first += 2**16
    value = item.get(data)
    if value is None or not 8 <= bits <= 16:
        raise wrong
    order = "<" if header.little else ">"
    if isinstance(value, bytes):
        raw = value
    else:
        words = np.atleast_1d(np.asarray(value, np.int64))
        if len(words) >= length:
            return StoredTable(first, bits, words[:length].astype(np.uint16))
        raw = words.astype(f"{order}u2").tobytes()
    if len(raw) >= 2 * length:
        entries = np.frombuffer(raw, f"{order}u2", length)
    elif bits == 8 and len(raw) >= length:
        # Two entries in a word, the first one in its low byte.
        packed = raw if header.little else np.frombuffer(raw, ">u2").astype("<u2").tobytes()
        entries = np.frombuffer(packed, np.uint8, length)
    else:
        raise wrong
    return StoredTable(first, bits, entries.astype(np.uint16))
