"""The option that a reply names, read leniently."""

import re
from collections.abc import Sequence

from medgym.cases import LETTERS, normalised

from .marks import characters, marked, plain

_DRESS = "()[]{}<>'\"`“”‘’.,:;!*$。，；：！ \t\n"
_END = " .!。！\n"
_LEAD = re.compile(
    r"(?:(?:the|my)\s+)?(?:(?:correct|right|best|final)\s+)?(?:option|choice|answer|letter)"
    r"(?:\s+is)?\s*:?\s+",
    re.IGNORECASE,
)
_CLAIM = re.compile(
    r"(?:(?i:therefore|thus|hence|so|(?:most |very )?likely|probably|definitely|clearly),?\s+)?"
    r"(?i:(?:(?:the|my)\s+)?(?:option|choice|answer|letter)\s+(?:is\s+)?)?[(\[\"']?([A-Z])[)\]\"']?"
    r"(?i:\s+is\s+(?:(?:the|my)\s+)?(?:correct|right|best)(?:\s+(?:option|choice|answer|one))?)?"
)
"""Says of a letter that it is the answer, and nothing else: `Option B is correct`."""

_TEXT_AND_LETTER = re.compile(
    r"(.+?)\s*[(\[]\s*(?:option\s+)?([A-Z])\s*[)\]]", re.DOTALL | re.IGNORECASE
)
_LETTER_AND_TEXT = re.compile(
    r"[(\[]?\s*([A-Za-z])\s*(?:[)\]]\s*[.:,-]?|[.:,;)\]-]|\s+[-–—]\s|\s)\s*(.+)", re.DOTALL
)
_SAID = re.compile(
    r"(?:definitely|certainly|clearly|surely|obviously|probably|likely"
    r"|(?:it|this) is|it's|i(?: would|'d)? (?:choose|pick|select|say)),?\s+\W*([A-Z])\W*"
)
"""Words after which a letter by itself is an answer."""


def choice_of(reply: str, options: Sequence[str]) -> str | None:
    """The one of `options` that a reply names; None where it names none, or several.

    The letter counts in ordinary clothes: `(B)`, `B.`, `**B**`, `\\boxed{B}`, `option B`; with a
    text behind it only where that is the letter's own (`B. banded`). The text of an option counts
    where it is all that the answer says. Of several marked answers the last that names an option
    counts. So do `banded (B)`, and `Option B is correct` where no more is said. Without a mark the
    whole reply is the answer, such as `B`, or `Definitely B`; or its first line, or its last one,
    where no other line names another option.

    Args:
        reply: the whole reply, or what stands between `<answer>` and `</answer>`.
        options: the options, the first of which is A.
    """
    found = False
    for given in marked(reply):
        found = True
        named = _named(given, options)
        if named is not None:
            return named
    if found:
        return None
    text = plain(reply)
    said = _SAID.fullmatch(text[:1].lower() + text[1:])
    whole = _named(text, options) or (_lettered(said[1], options) if said else None)
    return whole or _on_a_line(text, options)


def _on_a_line(text: str, options: Sequence[str]) -> str | None:
    """The option that the first or the last line names, where an explanation stands around it."""
    each = [_named(line, options) for line in text.split("\n") if line.strip()]
    named = {option for option in each if option is not None}
    return named.pop() if len(named) == 1 and (each[0] or each[-1]) else None


def _named(given: str, options: Sequence[str]) -> str | None:
    """The option that a text names and says nothing else."""
    text = plain(given)
    by_text = [option for option in options if _compared(option) == normalised(text)]
    bare = text.strip(_DRESS)
    bare = _LEAD.sub("", bare, count=1).strip(_DRESS) if _LEAD.match(bare) else bare
    by_letter = _lettered(bare, options)
    if by_letter is not None:  # a letter is a letter, even where an option's text is that letter
        return by_letter
    if by_text:
        return by_text[0]
    own = next((each for each in options if _compared(each) == normalised(bare)), None)
    if own is not None:
        return own
    claim = _CLAIM.fullmatch(text.rstrip(_END))
    if claim is not None:
        return _lettered(claim[1], options)
    text = text.strip("'\"`“‘ ")
    text = _LEAD.sub("", text, count=1) if _LEAD.match(text) else text
    behind, before = _TEXT_AND_LETTER.fullmatch(text.rstrip(_END)), _LETTER_AND_TEXT.fullmatch(text)
    return (_agreeing(before[1], before[2], options) if before else None) or (
        _agreeing(behind[2], behind[1], options) if behind else None
    )


def _agreeing(letter: str, text: str, options: Sequence[str]) -> str | None:
    """The option of a letter, where a text beside it is its own."""
    option = _lettered(letter, options)
    said = normalised(text.strip(_DRESS))
    return option if option is not None and said == _compared(option.strip(_DRESS)) else None


def _compared(option: str) -> str:
    """An option in the form that a reply was brought into."""
    return normalised(characters(option))


def _lettered(text: str, options: Sequence[str]) -> str | None:
    if len(text) != 1:
        return None
    place = LETTERS.find(text.upper())
    return options[place] if 0 <= place < len(options) else None
