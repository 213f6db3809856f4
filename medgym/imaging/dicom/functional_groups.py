"""The attributes of one frame: its own functional groups before the shared ones before the root.

PS3.3 C.7.6.16. No error quotes a value: a header may hold a patient's name anywhere.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medgym.errors import UserError


class FrameHeader:
    """The header of a file as it is for one frame."""

    def __init__(self, header: Any, index: int, path: Path, *, little: bool = True) -> None:
        self.root = header
        self.path = path
        self.little = little
        frames = header.get("PerFrameFunctionalGroupsSequence") or ()
        if frames and index >= len(frames):
            raise UserError(
                f"{path} has no functional groups for frame {index}; fix: export it again"
            )
        shared = header.get("SharedFunctionalGroupsSequence") or ()
        self._groups = [*frames[index : index + 1], *shared[:1]]

    def holders(self, group: str) -> Iterator[Any]:
        """Where the attributes of a functional group may stand, the first choice first."""
        for each in self._groups:
            yield from (each.get(group) or ())[:1]
        yield self.root

    def holder(self, group: str, *keywords: str) -> Any:
        """The first of `holders` that has a value for any of the keywords, else the root."""
        for found in self.holders(group):
            if any(found.get(keyword) not in (None, "") for keyword in keywords):
                return found
        return self.root

    def text(self, keyword: str) -> str:
        """An attribute of the root as text, "" where there is none."""
        return str(self.root.get(keyword) or "").strip()

    def numbers(self, holder: Any, keyword: str) -> tuple[float, ...]:
        """The values of an attribute, () where it has none.

        Raises:
            UserError: one of them is not a number.
        """
        try:
            value = holder.get(keyword)
            if value is None or value == "":
                return ()
            if isinstance(value, str | bytes) or not isinstance(value, Sequence):
                values: Any = [value]
            else:
                values = value
            return tuple(float(each) for each in values)
        except (TypeError, ValueError, OverflowError):
            raise UserError(f"{keyword} of {self.path} is not a number; fix: correct it") from None

    def number(self, holder: Any, keyword: str, otherwise: float) -> float:
        """The one value of an attribute.

        Raises:
            UserError: it is not one finite number.
        """
        values = self.numbers(holder, keyword)
        if not values:
            return otherwise
        if len(values) > 1 or not math.isfinite(values[0]):
            raise UserError(f"{keyword} of {self.path} is not one number; fix: correct it")
        return values[0]
