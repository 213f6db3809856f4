"""What a report in English states, as triplets: where, what, and whether it is there.

After MedTri (arXiv 2602.22143), which has a model write one line for each organ, `anatomy: finding;
category`. Here a small lexicon and rules for negation read the sentences, and the category is
whether the finding is present, absent or uncertain. A report that is written in MedTri's lines is
read by the same rules.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .clauses import Clause, Presence, Span, clauses
from .lexicon import (
    ANATOMY,
    ANATOMY_OF,
    DEFAULT_PLACE,
    FINDING,
    FINDING_OF,
    FIXED,
    NORMAL,
    OF_ITS_ORGAN,
    PAIRED,
    PLACES,
    SIDES,
    VAGUE,
    ZONED,
    ZONES,
)
from .sentences import sentences

LONGEST = 1_000
"""Letters of a sentence; a longer one is none, and counts as unread. It would take long to read."""

_NORMAL = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, NORMAL))})(?![\w-])(?! (?:of|for)\b)")
_SIZE = re.compile(r"\b(?:size|sized|caliber|calibre)\b")
_MIDLINE = re.compile(r"\b(?:is|are|remains?)\s+(?:in the\s+)?midline\b")
_SAYS = re.compile(f"{FINDING.pattern}|{_NORMAL.pattern}|{_MIDLINE.pattern}")
_SIDE = re.compile(rf"\b(?:{'|'.join(sorted(SIDES, key=len, reverse=True))})\b")
_ZONE = re.compile(rf"\b(?:{'|'.join(ZONES)})\b")
_BOTH = re.compile(r"\b(?:left and right|right and left)\b")
_SUBJECT = re.compile(r"([^:;]{1,40}):\s*(?=\S)")
_LINE = re.compile(r"([^:;]{1,60}:.+);\s*(present|absent|uncertain)")
_WORD = re.compile(r"\d+(?:[.,]\d+)?|[^\W\d_]+(?:-[^\W\d_]+)*")
_SILENT = frozenset(re.findall(
    r"\S+",
    "a an the there is are was were be been being of in on at to with and or nor as by for it its "
    "this that these those seen identified noted present evident visualized visualised "
    "demonstrated appreciated detected observed found visible shown shows show demonstrates "
    "demonstrate appears appear remains remain has have no not without evidence definite any free "
    "clear but which side sided within size limits also again well finding findings absent "
    "uncertain midline zone lobe from into",
))  # fmt: skip
"""Words that state nothing beside a triplet."""


class Triplet(NamedTuple):
    """One statement of a report."""

    anatomy: str
    finding: str
    presence: Presence

    def line(self) -> str:
        """The statement as MedTri writes it: `anatomy: finding; category`."""
        return f"{self.anatomy or 'body'}: {self.finding}; {self.presence}"


@dataclass(frozen=True)
class Read:
    """What a report was read as.

    Attributes:
        triplets: its statements, each once, in their order.
        unread: sentences, as they are compared, of which nothing was read.
        rest: words and numbers of the sentences that were read which no statement has, such as
            "large" and "3".
    """

    triplets: tuple[Triplet, ...]
    unread: tuple[str, ...]
    rest: frozenset[str]


def read(text: str) -> Read:
    """Read a report in English."""
    found: dict[Triplet, None] = {}
    unread: dict[str, None] = {}
    rest: set[str] = set()
    for sentence in sentences(text):
        lower = sentence.casefold()
        whole = _BOTH.sub("bilateral", lower) if len(lower) <= LONGEST else ""
        stated, taken = _stated(whole)
        found.update(dict.fromkeys(stated))
        if stated:
            rest |= {word for word in _WORD.findall(taken) if word not in _SILENT}
        else:
            unread[" ".join(_WORD.findall(lower)) or lower] = None
    return Read(tuple(found), tuple(unread), frozenset(rest))


def _stated(text: str) -> tuple[list[Triplet], str]:
    """The statements of a sentence, and the sentence without the words that made them."""
    line = _LINE.fullmatch(text)
    if line is not None:
        said, taken = _stated(line[1])
        category: Presence = "absent" if line[2] == "absent" else "uncertain"
        if line[2] == "present":
            return said, taken
        return [each._replace(presence=category) for each in said], taken
    subject: tuple[str, str] | None = None
    start = _SUBJECT.match(text)
    if start is not None and (named := list(ANATOMY.finditer(start[1]))):
        place = ANATOMY_OF[named[-1][0]]
        subject = (place, _qualified(place, start[1], (start.end(1), start.end(1))))
        text = text[start.end() :]
    said, taken = list[Triplet](), text
    for clause in clauses(text, _SAYS):
        said += _of_clause(clause, subject)
    for pattern in (FINDING, ANATOMY, _NORMAL, _SIDE, _ZONE):
        taken = pattern.sub(" ", taken)
    return said, taken


def _of_clause(clause: Clause, subject: tuple[str, str] | None) -> Iterator[Triplet]:
    text = clause.text
    found = list(FINDING.finditer(text, *clause.span))
    hidden = text
    for match in found:
        hidden = hidden[: match.start()] + " " * len(match[0]) + hidden[match.end() :]
    yield from _normal(clause, hidden, subject)
    bearing = {
        piece: [m for m in found if piece[0] <= m.start() < piece[1]] for piece in clause.pieces
    }
    for match in found:
        presence = clause.presence(match.span())
        if presence is None or (match[0] in VAGUE and presence != "absent"):
            continue
        piece = next(each for each in clause.pieces if each[0] <= match.start() < each[1])
        finding = FINDING_OF[match[0]]
        for place, where in _places(match, clause, piece, bearing, hidden):
            yield Triplet(_with_subject(place, where, finding, subject), finding, presence)


def _with_subject(
    place: str | None, where: str, finding: str, subject: tuple[str, str] | None
) -> str:
    """The anatomy of a finding, by the organ that the line is about where its clause has none."""
    if place is not None:
        same = subject is not None and subject[0] == place and where == place
        return subject[1] if same and subject is not None else where
    if subject is not None and subject[0] in PLACES.get(finding, (subject[0],)):
        return subject[1]
    return where


def _places(
    match: re.Match[str],
    clause: Clause,
    piece: Span,
    bearing: dict[Span, list[re.Match[str]]],
    hidden: str,
) -> Iterator[tuple[str | None, str]]:
    """Where a finding is: the organ (None where the clause names none), and its whole name."""
    finding = FINDING_OF[match[0]]
    own = OF_ITS_ORGAN.get(match[0])
    if own is None and finding in FIXED:
        own = DEFAULT_PLACE[finding]
    if own is not None:
        yield own, _side_near(own, match.span(), piece, clause, hidden)
        return
    allowed = PLACES.get(finding)

    def organs(span: Span) -> list[re.Match[str]]:
        every = ANATOMY.finditer(hidden, *span)
        return [m for m in every if allowed is None or ANATOMY_OF[m[0]] in allowed]

    here = organs(piece) or organs(clause.span)
    if not here:
        default = DEFAULT_PLACE[finding]
        yield None, _side_near(default, match.span(), piece, clause, hidden) if default else ""
        return
    near = min(here, key=lambda m: _distance(m.span(), match.span()))
    place = ANATOMY_OF[near[0]]
    yield place, _side_near(place, match.span(), piece, clause, hidden)
    for other in _beside(piece, bearing):
        for named in organs(other)[:1]:
            there = ANATOMY_OF[named[0]]
            if there != place:
                yield there, _side_near(there, named.span(), other, clause, hidden)


def _beside(piece: Span, bearing: dict[Span, list[re.Match[str]]]) -> list[Span]:
    """The pieces without a finding whose organs share this piece's: those right behind it, and at
    the start of a clause those before it."""
    order = list(bearing)
    place = order.index(piece)
    behind: list[Span] = []
    for each in order[place + 1 :]:
        if bearing[each]:
            break
        behind.append(each)
    before = order[:place]
    return behind if any(bearing[each] for each in before) else [*before, *behind]


def _normal(clause: Clause, hidden: str, subject: tuple[str, str] | None) -> Iterator[Triplet]:
    """What a clause such as "the liver is normal in size" states."""
    straight = _MIDLINE.search(hidden, *clause.span)
    word = straight or _NORMAL.search(hidden, *clause.span)
    if word is None:
        return
    finding = "enlargement" if _SIZE.search(hidden, *clause.span) else "abnormality"
    presence: Presence = "present" if clause.is_denied(word.span()) else "absent"
    if straight is not None:
        finding, hidden = "deviation", hidden.replace("midline", " " * len("midline"))
    named = list(ANATOMY.finditer(hidden, *clause.span))
    if not named:
        yield Triplet(subject[1] if subject else "", finding, presence)
    for match in named:
        place = ANATOMY_OF[match[0]]
        piece = next(
            (each for each in clause.pieces if each[0] <= match.start() < each[1]), clause.span
        )
        yield Triplet(_qualified(place, hidden[slice(*piece)], None), finding, presence)


def _side_near(place: str, at: Span, piece: Span, clause: Clause, hidden: str) -> str:
    """The name of a place with its side, by the words of its piece, else of its clause."""
    for span in (piece, clause.span):
        text = hidden[slice(*span)]
        named = _qualified(place, text, (at[0] - span[0], at[1] - span[0]))
        if named != place:
            return named
    return place


def _qualified(place: str, text: str, at: Span | None) -> str:
    """A place with the side and the zone that stand nearest to it, where these count."""
    parts = []
    for pattern, names, counts in ((_SIDE, SIDES, PAIRED), (_ZONE, ZONES, ZONED)):
        found: Sequence[re.Match[str]] = list(pattern.finditer(text)) if place in counts else ()
        if found:
            near = min(found, key=lambda m: 0 if at is None else _distance(m.span(), at))
            parts.append(names[near[0]])
    return " ".join([*parts, place])


def _distance(one: Span, other: Span) -> int:
    return max(one[0] - other[1], other[0] - one[1], 0)
