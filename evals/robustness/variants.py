"""The variants of a case by name, and which of them are asked for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from medgym.errors import UserError, unknown

from .corruptions.apply import BLANK
from .corruptions.severities import CORRUPTIONS, FAMILIES, SEVERITIES

CLEAN = "clean"
"""The cases as they are."""

OPTIONS, PARAPHRASE = "options", "paraphrase"
EXCHANGED, OTHER_VIEWS, TEXT_ONLY = "exchanged", "other-views", "text-only"

OTHERS = (OPTIONS, PARAPHRASE, BLANK, EXCHANGED, OTHER_VIEWS, TEXT_ONLY)
"""The variants beside corruptions. The last four take away what the images say."""

WITHOUT_IMAGES = (BLANK, EXCHANGED, OTHER_VIEWS, TEXT_ONLY)


@dataclass(frozen=True)
class Variant:
    """One way to change cases.

    Attributes:
        name: `CLEAN`, one of `OTHERS`, or the name of a corruption.
        severity: of a corruption from 1 to 5; 0 of the others.
    """

    name: str
    severity: int = 0

    def __str__(self) -> str:
        return f"{self.name}-{self.severity}" if self.severity else self.name

    @classmethod
    def named(cls, text: str) -> "Variant":
        """The variant that `str` gives: `options`, `gaussian-noise-3`.

        Raises:
            UserError: there is none of that name.
        """
        found = re.fullmatch(r"(.+)-([1-5])", text)
        if found is not None and found[1] in CORRUPTIONS:
            return cls(found[1], int(found[2]))
        if text in CORRUPTIONS:
            raise UserError(
                f"the corruption {text} has no severity; fix: write {text}-1 to {text}-5"
            )
        if text not in (CLEAN, *OTHERS):
            raise unknown("variant", text, (CLEAN, *OTHERS, *(f"{c}-1" for c in CORRUPTIONS)))
        return cls(text)


def chosen_variants(names: str | None, severities: str) -> list[Variant]:
    """The variants that `--variants` and `--severities` ask for, without `CLEAN`.

    Args:
        names: families, corruptions and others, with commas between them; all of them for None.
        severities: with commas between them.

    Raises:
        UserError: there is no such variant, or no such severity.
    """
    levels = _levels(severities)
    known = (*FAMILIES, *CORRUPTIONS, *OTHERS)
    wanted = (*FAMILIES, *OTHERS) if names is None else _split(names)
    found: dict[Variant, None] = {}
    for name in wanted:
        if name not in known:
            raise unknown("variant", name, known)
        if name in OTHERS:
            found[Variant(name)] = None
            continue
        for corruption in FAMILIES.get(name, (name,)):
            found |= {Variant(corruption, level): None for level in levels}
    return list(found)


def _levels(text: str) -> Sequence[int]:
    found = sorted({*_split(text)})
    for each in found:
        if each not in map(str, SEVERITIES):
            raise UserError(
                f"{each!r} is no severity; fix: write some of 1 to 5, such as --severities 1,3,5"
            )
    return [int(each) for each in found]


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]
