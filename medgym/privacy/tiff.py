"""A TIFF file without metadata: all that no part of an image needs becomes zero, in its place."""

import struct
from collections.abc import Iterator

from medgym.errors import UserError
from medgym.privacy.cleaned import Cleaned
from medgym.privacy.frames import JPEG, empty_jpeg

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8,
          17: 8, 18: 8}  # fmt: skip
"""Bytes of a value of each type."""

_WHOLE = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}

_KEPT = frozenset(
    (254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284,
     290, 291, 292, 293, 296, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 334, 336,
     338, 339, 340, 341, 342, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532,
     32997)
)  # fmt: skip
"""Tags that say how pixels are stored and what their values mean. None of them is a text."""

_PIECES = ((273, 279), (324, 325), (513, 514))
"""Tags of where the pieces of an image are, and of how long they are."""

_SUB_IFDS, _TEXT, _DESCRIPTION, _TABLES, _MOST = 330, 2, 270, 347, 100_000
_OF_SLIDES = (b"Aperio", b"Hamamatsu", b"Ventana", b"iScan", b"Leica", b"3DHISTECH", b"PHILIPS DP")
_NDPI = 65420

Span = tuple[int, int]


def scrub_tiff(data: bytes, cleaned: Cleaned) -> tuple[bytes, list[bytes]]:
    """The bytes of a TIFF file without metadata, and the texts that it had.

    Raises:
        UserError: the file is damaged, a whole slide, or has images that only its texts describe.
    """
    try:
        return _Tiff(data, cleaned).written()
    except (struct.error, KeyError, IndexError, OverflowError):
        raise UserError("its tags are damaged; fix: save it again") from None


class _Tiff:
    def __init__(self, data: bytes, cleaned: Cleaned) -> None:
        self._data = data
        self._cleaned = cleaned
        self._order = "<" if data[:2] == b"II" else ">"
        self._big = data[2:4] in (b"+\0", b"\0+")
        self._head, self._entry = (16, 20) if self._big else (8, 12)
        self._word, self._count = ("Q", "Q") if self._big else ("I", "H")
        self._kept: list[Span] = [(0, self._head)]
        self._again = bytearray(data)
        self.removed: list[bytes] = []

    def written(self) -> tuple[bytes, list[bytes]]:
        waiting = [self._number(self._word, self._head - struct.calcsize(self._word))]
        seen: set[int] = set()
        while waiting:
            at = waiting.pop()
            if at and at not in seen:
                seen.add(at)
                waiting += self._directory(at)
            if len(seen) > _MOST:
                raise UserError("it has more directories than any image; fix: save it again")
        self._refuse_stacks(len(seen))
        out = bytearray(len(self._data))
        for start, end in self._kept:
            if end > len(self._data):
                raise UserError("it is cut off; fix: copy it again")
            out[start:end] = self._again[start:end]
        last = max(end for _, end in self._kept)
        return bytes(out[:last]), self.removed

    def _directory(self, at: int) -> Iterator[int]:
        """Keep a directory without the tags that are not needed; gives those that follow."""
        width = struct.calcsize(self._count)
        count = self._number(self._count, at)
        places = [at + width + number * self._entry for number in range(count)]
        after = at + width + count * self._entry
        following = self._number(self._word, after)
        kept, values = [], {}
        for place in places:
            tag, kind = struct.unpack_from(f"{self._order}HH", self._data, place)
            start, end = self._value(place, kind)
            if tag in (_DESCRIPTION, _NDPI, 271, 305):
                self._refuse_slides(tag, self._data[start:end])
            if tag in _KEPT and kind in _SIZES and kind != _TEXT:
                kept.append(self._data[place : place + self._entry])
                if not place <= start < place + self._entry:
                    self._kept.append((start, end))
                values[tag] = (kind, start, end)
            else:
                self.removed.append(self._data[start:end])
                self._cleaned.changes[(f"tag {tag}", "removed")] += 1
        again = struct.pack(f"{self._order}{self._count}", len(kept)) + b"".join(kept)
        again += struct.pack(f"{self._order}{self._word}", following)
        self._again[at : at + len(again)] = again
        self._kept.append((at, at + len(again)))
        for place, length in _PIECES:
            if place in values and length in values:
                pieces = zip(self._numbers(*values[place]), self._numbers(*values[length]),
                             strict=False)  # fmt: skip
                spans = [(start, start + size) for start, size in pieces if size]
                self._kept += spans
                self._empty_jpeg(spans)
        if _TABLES in values:
            self._empty_jpeg([values[_TABLES][1:]])
        for tag in (519, 520, 521):  # the tables of an old kind of JPEG
            if tag in values:
                raise UserError("it holds JPEG of an old kind; fix: save it again")
        if _SUB_IFDS in values:
            yield from self._numbers(*values[_SUB_IFDS])
        yield following

    def _empty_jpeg(self, spans: list[Span]) -> None:
        """Empty the comments of pieces that are JPEG files."""
        for start, end in spans:
            if self._data.startswith(JPEG, start) and end <= len(self._data):
                before = self._again[start:end]
                empty_jpeg(self._again, start, end)
                if self._again[start:end] != before:
                    self._cleaned.changes[("comments of pieces", "emptied")] += 1

    def _value(self, place: int, kind: int) -> Span:
        """Where the values of a tag stand."""
        count = self._number(self._word, place + 4)
        size = count * _SIZES.get(kind, 1)
        inside = place + (12 if self._big else 8)
        start = inside if size <= (8 if self._big else 4) else self._number(self._word, inside)
        return start, start + size

    def _numbers(self, kind: int, start: int, end: int) -> list[int]:
        count = (end - start) // _SIZES[kind]
        form = f"{self._order}{count}{_WHOLE[kind]}"
        return list(struct.unpack_from(form, self._data, start))

    def _number(self, form: str, at: int) -> int:
        return int(struct.unpack_from(f"{self._order}{form}", self._data, at)[0])

    def _refuse_slides(self, tag: int, text: bytes) -> None:
        if tag == _NDPI or any(each in text for each in _OF_SLIDES):
            raise UserError(
                "it is a whole slide, whose file may hold a picture of its label; fix: remove the "
                "label with the scanner's own software"
            )

    def _refuse_stacks(self, count: int) -> None:
        """Refuse a stack whose images are told by its description only, as ImageJ writes it."""
        for text in self.removed:
            if text.startswith(b"ImageJ=") and b"images=" in text and count == 1:
                raise UserError(
                    "it is a stack that only its description tells of; fix: save it with one "
                    "directory for each image"
                )
