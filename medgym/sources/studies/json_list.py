"""The objects of a JSON list in a file too large to hold: found once, read when they are asked for.

What is kept of each object is where it stands in the file.
"""

import io
import json
import re
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.files import open_regular
from medgym.lazy_sequence import LazySequence

Row = dict[str, Any]

_CHUNK = 4 * 2**20
_MOST = 64 * 2**20
"""The most characters of one object."""

_BETWEEN = re.compile(r"[\s,]*")


class JsonRows(LazySequence[Row]):
    """The objects of a list.

    Args:
        path: a UTF-8 file that holds one JSON list of objects.
        look: is given each object once, in order, while they are found.

    Raises:
        UserError: the file cannot be read, or holds anything else.
    """

    def __init__(self, path: Path, look: Callable[[Row], None]) -> None:
        self._path = path
        self._places, self._lengths = array("q"), array("q")
        try:
            for place, length, row in _objects(path):
                self._places.append(place)
                self._lengths.append(length)
                look(row)
        except (ValueError, RecursionError) as error:
            said = f"{path} is no whole JSON list of objects ({error}); fix: fetch it again"
            raise UserError(said) from error

    def __len__(self) -> int:
        return len(self._places)

    def item(self, index: int) -> Row:
        """Read a row."""
        with open_regular(self._path) as stream:
            stream.seek(self._places[index])
            data = stream.read(self._lengths[index])
        try:
            row: Row = json.loads(data)
        except ValueError as error:
            raise UserError(f"{self._path} changed while it was read; fix: open it again") from (
                error
            )
        return row


def _objects(path: Path) -> Iterator[tuple[int, int, Row]]:
    """The objects, each with the byte at which it begins and its length in bytes."""
    decode = json.JSONDecoder().raw_decode
    with open_regular(path) as raw, io.TextIOWrapper(raw, "utf-8", newline="") as stream:
        held = stream.read(_CHUNK)
        start = len(held) - len(held.lstrip())
        if held[start : start + 1] != "[":
            raise ValueError("it begins with no list")
        place, held = len(held[: start + 1].encode()), held[start + 1 :]
        at = 0  # the next character of `held`, which is byte `place` of the file
        while True:
            between = _BETWEEN.match(held, at)
            assert between is not None
            place, at = place + len(between[0].encode()), between.end()
            if held[at : at + 1] == "]":
                if held[at + 1 :].strip() or stream.read(1024).strip():
                    raise ValueError("something follows its end")
                return
            try:
                row, end = decode(held, at)
            except json.JSONDecodeError:
                chunk = stream.read(max(_CHUNK, len(held) - at))
                if not chunk or len(held) - at > _MOST:
                    raise
                held, at = held[at:] + chunk, 0
                continue
            if not isinstance(row, dict):
                raise ValueError(f"it holds a {type(row).__name__}")
            length = len(held[at:end].encode())
            yield place, length, row
            place, at = place + length, end
