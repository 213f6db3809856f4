"""What cases hold, counted: answers, types, modalities, lengths, sizes, groups."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from medgym.cases import Case
from medgym.imaging.drawing import sheet
from medgym.imaging.study import ImageRef, open_study, start_of

SIZED = 500
"""Images whose size is read. Of more cases it is these, evenly spread."""

MOST = 12
"""Values that are shown of what has many."""

WORDS = ((1, "1"), (2, "2"), (4, "3 to 4"), (8, "5 to 8"), (16, "9 to 16"), (64, "17 to 64"))
GROUP_SIZES = ((1, "1"), (2, "2"), (4, "3 to 4"), (8, "5 to 8"), (16, "9 to 16"), (64, "17 to 64"))

BAR = (420, 22)


@dataclass(frozen=True)
class Stats:
    """What was counted.

    Attributes:
        cases, groups, images: how many, different ones of the last two.
        tables: counts by what was counted, in the order in which they are shown.
        of: how many values each table has in all, where it shows only the most frequent.
    """

    cases: int
    groups: int
    images: int
    tables: dict[str, dict[str, int]]
    of: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "cases": self.cases,
            "groups": self.groups,
            "images": self.images,
            "counts": self.tables,
            "values": self.of,
        }


def count_cases(cases: Sequence[Case], advance: Callable[[], None] = lambda: None) -> Stats:
    """Count what cases hold. Of images only headers are read, of at most `SIZED`."""
    counts: dict[str, Counter[str]] = {
        name: Counter()
        for name in (
            "split", "answer type", "modality", "language", "options", "images of a case",
            "answer", "words of an answer", "words of a question",
        )
    }  # fmt: skip
    groups: Counter[tuple[str, str]] = Counter()
    images: set[ImageRef] = set()
    sized: list[ImageRef] = []
    step = max(1, len(cases) // SIZED)
    for number, case in enumerate(cases):
        counts["split"][case.split] += 1
        counts["answer type"][case.answer_type] += 1
        counts["modality"][case.modality or "unknown"] += 1
        counts["language"][case.language] += 1
        counts["options"][str(len(case.options) or "none")] += 1
        counts["images of a case"][str(len(case.images))] += 1
        counts["answer"][case.answer or "none"] += 1
        counts["words of an answer"][_range(len(case.answer.split()), WORDS)] += 1
        counts["words of a question"][_range(len(case.question.split()), WORDS)] += 1
        groups[case.source, case.group] += 1
        images.update(case.images)
        if number % step == 0:
            sized += case.images[:1]
        advance()
    counts["cases of a group"] = Counter(_range(n, GROUP_SIZES) for n in groups.values())
    counts[f"size of an image ({len(sized):,} looked at)"] = Counter(map(_size, sized))
    order = {label: place for place, (_, label) in enumerate(WORDS)}
    tables, of = {}, {}
    for name, counter in counts.items():
        of[name] = len(counter)
        if name.startswith(("words", "cases of")):
            tables[name] = dict(sorted(counter.items(), key=lambda each: order.get(each[0], 99)))
        else:
            tables[name] = dict(sorted(counter.items(), key=lambda e: (-e[1], e[0]))[:MOST])
    return Stats(len(cases), len(groups), len(images), tables, of)


def stats_picture(stats: Stats) -> Image.Image:
    """Every table as bars, on one sheet."""
    tiles = []
    for name, table in stats.tables.items():
        rest = stats.of[name] - len(table)
        more = f", {rest:,} more values" if rest else ""
        tiles.append((f"{name}{more}", [_bars(table)]))
    return sheet(tiles, 3)


def _bars(table: dict[str, int]) -> Image.Image:
    width, high = BAR
    made = Image.new("RGB", (width, high * max(len(table), 1) + 8), "white")
    pen, font = ImageDraw.Draw(made), ImageFont.load_default(13)
    most = max(table.values(), default=1)
    for line, (value, count) in enumerate(table.items()):
        top = line * high
        length = round(150 * count / most)
        shown = " ".join(value.split())
        pen.text((4, top + 3), shown if len(shown) < 27 else f"{shown[:26]}…", "black", font=font)
        pen.rectangle((200, top + 4, 200 + max(length, 1), top + high - 4), fill="#3b6ea5")
        pen.text((206 + length, top + 3), f"{count:,}", "black", font=font)
    return made


def _range(value: int, ranges: Iterable[tuple[int, str]]) -> str:
    return next((label for most, label in ranges if value <= most), "more than 64")


def _size(ref: ImageRef) -> str:
    try:
        study = open_study(ref)
        plane = study.planes[start_of(study, ref)[0]]
    except Exception:  # a check says what is wrong with it
        return "unreadable"
    width, height = plane.size
    return f"{width} x {height}" + (f" x {plane.count}" if plane.count > 1 else "")
