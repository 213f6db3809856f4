"""The proof that phantoms hide what they promise to hide, and that their gold is where they say.

`check_phantoms` trusts no argument about the drawing. It draws each phantom with every kind and
compares the overviews byte for byte, for each way of making an overview. It finds the lesion from
the pixels and compares it with the gold. And it trains a classifier on the easiest possible leak,
the overview around the gold box. A check that cannot fail is worthless, so the same classifier must
succeed on the close view, and the tests plant leaks that each check must catch.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medgym.cases import Case
from medgym.errors import UserError
from medgym.imaging.study import Study
from medgym.sources.phantom import source as phantoms
from medgym.sources.phantom.balance import (
    CheckReport,
    CheckRow,
    Progress,
    judged,
    quartiles,
)
from medgym.sources.phantom.balance import chi_square_p as chi_square_p
from medgym.sources.phantom.modalities import APPEARANCES, KINDS, Pixels
from medgym.sources.phantom.modalities import view_sizes as supported
from medgym.sources.phantom.probe import probe as train_probe
from medgym.sources.phantom.probe import probe_row, too_few
from medgym.sources.phantom.settings import FIRST, SPLITS
from medgym.sources.phantom.source import ASKED, PhantomPlan, plan_of
from medgym.sources.phantom.studies.cases import is_study
from medgym.sources.phantom.studies.check import check_studies
from medgym.sources.phantom.tool_check import tool_rows
from medgym.sources.phantom.tool_questions import question_name


def check_phantoms(
    cases: Sequence[Case],
    view_sizes: Sequence[int] | None = None,
    probe: bool = True,
    progress: Progress | None = None,
) -> CheckReport:
    """Check phantom cases; a few hundred make every check tell.

    Args:
        cases: of the source `phantom`.
        view_sizes: sides of overview to check, by default those that each image supports.
        probe: train the classifier too (it needs some 300 lesions to see well).
        progress: called with (cases done, cases in all).

    Raises:
        UserError: no cases, or cases of another source.
    """
    if not cases:
        raise UserError("no cases to check; fix: name some, such as phantom:test[:200]")
    if all(is_study(case.images[0]) for case in cases):
        return check_studies(cases, view_sizes, probe, progress)
    seen = _Seen()
    for done, case in enumerate(cases, start=1):
        if case.source != "phantom" or is_study(case.images[0]):
            raise UserError(
                f"{case.id} is no phantom of a single image as others here are; fix: check cases "
                "of one look of the source phantom"
            )
        seen.add(case, view_sizes)
        if progress is not None:
            progress(done, len(cases))
    rows = [*seen.overview_rows(), seen.close_row(), seen.gold_row()]
    rows += [_split_row(seen.plans), *_balance_rows(seen.asked, list(seen.lesions.values()))]
    rows += tool_rows(seen.asked)
    if probe:
        rows += _probe_rows(list(seen.lesions.values()), view_sizes)
    return CheckReport(tuple(rows))


def rendered(study: Study, side: int) -> Pixels:
    """The overview as the environment makes it."""
    width, height = study.size
    return np.asarray(study.render((0, 0, width, height), (side, side)))


def reduced(study: Study, side: int) -> Pixels:
    """`PIL.Image.reduce` by a whole factor."""
    return np.asarray(Image.fromarray(study.pixels).reduce(study.size[0] // side))


def boxed(study: Study, side: int) -> Pixels:
    """Pillow's resize with the BOX filter."""
    return np.asarray(Image.fromarray(study.pixels).resize((side, side), Image.Resampling.BOX))


def pooled(study: Study, side: int) -> NDArray[np.float32]:
    """Average pooling in float32, unrounded."""
    k = study.size[0] // side
    rows = study.pixels.reshape(side, k, side, k, -1).astype(np.float32)
    means: NDArray[np.float32] = rows.mean(axis=(1, 3), dtype=np.float32)
    return means


RENDERED = "the environment's rendering"
OVERVIEWS: dict[str, Callable[[Study, int], NDArray[Any]]] = {
    RENDERED: rendered,
    "Image.reduce": reduced,
    "BOX resizing": boxed,
    "average pooling": pooled,
}
"""The ways of making an overview under which the kind must stay hidden."""


class _Seen:
    """What was found in the cases looked at so far. A phantom asked about twice is drawn once."""

    def __init__(self) -> None:
        self.plans: list[PhantomPlan] = []
        self.lesions: dict[str, PhantomPlan] = {}
        self.asked: list[tuple[Case, PhantomPlan]] = []
        self._groups: set[str] = set()
        self._compared: Counter[tuple[str, int]] = Counter()
        self._leaks: dict[tuple[str, int], list[str]] = {}
        self._alike: list[str] = []
        self._wrong: list[str] = []

    def add(self, case: Case, view_sizes: Sequence[int] | None) -> None:
        plan = plan_of(case.images[0])
        self.asked.append((case, plan))
        study = plan.study()
        bare = replace(plan, kind=None, cells=()).draw()
        for fault in gold_faults(case, plan, study, bare):
            self._wrong.append(f"{case.id}: {fault}")
        if case.group in self._groups:
            return
        self._groups.add(case.group)
        self.plans.append(plan)
        if plan.kind is not None:
            self.lesions[case.group] = plan
            self._compare(case, plan, view_sizes)

    def _compare(self, case: Case, plan: PhantomPlan, view_sizes: Sequence[int] | None) -> None:
        """Draw the phantom with every kind and compare the overviews."""
        twins = [Study(replace(plan, kind=kind).draw()) for kind in KINDS]
        for side in view_sizes or supported(plan.size):
            for way, overview in OVERVIEWS.items():
                if plan.size % side and overview in (reduced, pooled):
                    continue  # not defined for a fractional factor
                first, *others = (overview(twin, side).tobytes() for twin in twins)
                self._compared[way, side] += len(others)
                if any(other != first for other in others):
                    self._leaks.setdefault((way, side), []).append(case.id)
        x0, y0, x1, y1 = plan.box_px
        close = {twin.pixels[y0:y1, x0:x1].tobytes() for twin in twins}
        if len(close) < len(KINDS):
            self._alike.append(case.id)

    def overview_rows(self) -> Iterator[CheckRow]:
        if not self._compared:
            yield CheckRow("overview", "warn", "no lesion seen", "give more cases")
        for (way, side), count in sorted(self._compared.items(), key=lambda item: item[0][::-1]):
            leaks = self._leaks.get((way, side), [])
            yield CheckRow(
                f"overview {side} x {side} hides the kind under {way}",
                "fail" if leaks else "pass",
                f"{len(leaks)} phantoms leak, of {count} pairs compared byte for byte",
                f"show it at another size than {side}; first leak: {leaks[0]}" if leaks else "",
            )

    def close_row(self) -> CheckRow:
        return CheckRow(
            "the original pixels show the kind",
            "fail" if self._alike else "pass" if self.lesions else "warn",
            f"{len(self._alike)} of {len(self.lesions)} lesions look alike in two kinds",
            f"two textures are the same, as in {self._alike[0]}" if self._alike else "",
        )

    def gold_row(self) -> CheckRow:
        return CheckRow(
            "gold agrees with the pixels (box, mask, brightness, side, size, answer)",
            "fail" if self._wrong else "pass",
            f"{len(self._wrong)} faults in {len(self.asked)} cases",
            f"fix the plan or the drawing; first fault: {self._wrong[0]}" if self._wrong else "",
        )


def gold_faults(case: Case, plan: PhantomPlan, study: Study, bare: Pixels) -> Iterator[str]:
    """What is wrong with a case's gold, found from its pixels and those of its bare background."""
    change = study.pixels.astype(np.int16) - bare.astype(np.int16)
    if change.ndim == 3:
        if (change != change[:, :, :1]).any():
            yield "the lesion changes the channels differently"
        change = change[:, :, 0]
    if study.size != (plan.size, plan.size):
        yield f"the image has {study.size[0]} x {study.size[1]} pixels"
        return
    if not case.regions:
        if change.any():
            yield "there is a lesion and no region"
        if case.answer != "no":
            yield "there is no region and the question needs one"
        return
    region, block = case.regions[0], plan.block
    look = APPEARANCES[plan.look]
    mean = change.reshape(-1, block, plan.size // block, block).mean(axis=(1, 3))
    found = mean != 0
    if (mean[found] != look.contrast / 2 * (-1 if look.dark else 1)).any():
        yield "a block's mean is not changed by half the contrast"
    if not found.any():
        yield "there is a region and no lesion"
        return
    rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    box = tuple(int(n) * block for n in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    x0, y0, x1, y1 = box
    if box != region.box_px:
        yield f"the box is {region.box_px} and the lesion lies at {box}"
    if (
        region.mask is None
        or (region.mask.array() != np.kron(found, np.ones((block, block)))).any()
    ):
        yield "the mask is not the lesion's"
    if x0 <= 0 or y0 <= 0 or x1 >= plan.size or y1 >= plan.size:
        yield "the lesion touches the image's border"
    if region.label != plan.kind:
        yield f"the region is labelled {region.label} and drawn {plan.kind}"
    side = "left" if x1 <= plan.size / 2 else "right" if x0 >= plan.size / 2 else "both halves"
    length_mm = max(x1 - x0, y1 - y0) * plan.spacing_mm
    if study.spacing_mm != (plan.spacing_mm, plan.spacing_mm):
        yield "the study's spacing is not the plan's"
    said = {"kind": region.label, "side": side, "presence": "yes"}
    asked = question_name(case)
    if asked in said and case.answer != said[asked]:
        yield f"the answer is {case.answer!r} and should be {said[asked]!r}"
    if asked in ("size", "length") and not _within(length_mm, case.answer):
        yield f"the answer is {case.answer!r} and the lesion is {length_mm:g} mm long"


def _within(length_mm: float, answer: str) -> bool:
    numbers = [float(word) for word in answer.split() if word[0].isdigit()]
    low = 0.0 if answer.startswith("under") else numbers[0]
    high = float("inf") if answer.startswith("over") else numbers[-1]
    return low < length_mm < high


def _split_row(plans: Sequence[PhantomPlan]) -> CheckRow:
    """No number, seed or image in two splits."""
    ranges = sorted((FIRST[split], FIRST[split] + 2 * count) for split, count in SPLITS.items())
    faults = [
        f"numbers {low} to {end} are in two splits"
        for (_, end), (low, _) in pairwise(ranges)
        if end > low
    ]
    drawn = 0
    for plan in plans:
        others = (split for split in SPLITS if split != plan.split)
        twins = [
            phantoms.plan(split, plan.look, plan.size, plan.number % (2 * SPLITS[split]))
            for split in others
        ]
        faults += [f"{plan.uri} is {twin.uri}" for twin in twins if twin.seed == plan.seed]
        if drawn < 8 and plan.size <= 512:
            drawn += 1
            pixels = plan.draw().tobytes()
            faults += [
                f"{plan.uri} looks as {t.uri}" for t in twins if t.draw().tobytes() == pixels
            ]
    return CheckRow(
        "splits are disjoint",
        "fail" if faults else "pass",
        f"{len(faults)} overlaps in {len(plans)} phantoms",
        f"give each split its own numbers; first overlap: {faults[0]}" if faults else "",
    )


def _probe_rows(
    lesions: Sequence[PhantomPlan], view_sizes: Sequence[int] | None
) -> Iterator[CheckRow]:
    sides = view_sizes or sorted({side for plan in lesions for side in supported(plan.size)})
    for side in sides:
        shown = [plan for plan in lesions if view_sizes or side in supported(plan.size)]
        check = f"a probe cannot read the kind from overviews of {side} x {side}"
        row = too_few(check, len(shown))
        if row is None:
            found = train_probe(shown, side, OVERVIEWS[RENDERED])
            row = probe_row(check, found, f"the kind leaks: do not show it at {side}")
        yield row


def _balance_rows(
    asked: Sequence[tuple[Case, PhantomPlan]], lesions: Sequence[PhantomPlan]
) -> Iterator[CheckRow]:
    """Chi-square: each question's answers, and the kind against what a blind policy could know.

    `lesions` are those of different phantoms: one asked about twice is no independent draw.
    """
    for question in ASKED:
        of = [(case, plan.look) for case, plan in asked if question_name(case) == question]
        for look in sorted({look for _, look in of}):
            here = [case for case, its_look in of if its_look == look]
            counts = Counter(case.answer for case in here)
            figure = ", ".join(f"{option} {counts[option]}" for option in here[0].options)
            table = np.array([[counts[option] for option in here[0].options]])
            yield judged(f"answers to {question} in {look} are balanced", table, figure)
    for name, values in {
        "side": [plan.side for plan in lesions],
        "row": quartiles([plan.box_px[1] / plan.size for plan in lesions]),
        "size": [str(plan.length) for plan in lesions],
        "look": [plan.look for plan in lesions],
        "parity of the number": [str(plan.number % 2) for plan in lesions],
        "brightness of the background": quartiles([_brightness(plan) for plan in lesions]),
    }.items():
        pairs = Counter(zip(values, (plan.kind for plan in lesions), strict=True))
        table = np.array([[pairs[v, kind] for kind in KINDS] for v in sorted(set(values))])
        if len(table) > 1:
            yield judged(f"the kind does not go with the {name}", table, "")


def _brightness(plan: PhantomPlan) -> float:
    return float(replace(plan, kind=None, cells=()).draw()[::8, ::8].mean())
