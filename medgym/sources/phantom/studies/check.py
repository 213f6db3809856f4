"""The proof that phantom studies hide what they promise to hide, and that their gold is true.

As with single images, no argument about the drawing is trusted. Each study is drawn with every kind
of lesion. Its first view, whole images with the lesion, and slabs through it are compared byte for
byte, under several windows. The lesion is found from where these drawings differ.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from medgym.cases import Case
from medgym.errors import UserError
from medgym.imaging.slabs import Slab
from medgym.imaging.study import Study, Window
from medgym.sources.phantom.balance import CheckReport, CheckRow, Progress, judged, quartiles
from medgym.sources.phantom.settings import FIRST, SPLITS
from medgym.sources.phantom.studies.cases import first_image, opened
from medgym.sources.phantom.studies.gold import study_gold_faults, with_other_kinds
from medgym.sources.phantom.studies.plan import StudyPlan, study_of, study_plan
from medgym.sources.phantom.studies.probe import probe_rows
from medgym.sources.phantom.studies.questions import STUDY_QUESTIONS, plane_of
from medgym.sources.phantom.studies.settings import STUDY_LOOKS
from medgym.sources.phantom.studies.signals import SIGNALS, TONED
from medgym.sources.phantom.studies.textures import KINDS


def check_studies(
    cases: Sequence[Case],
    view_sizes: Sequence[int] | None = None,
    probe: bool = True,
    progress: Progress | None = None,
) -> CheckReport:
    """Check cases of phantom studies; see `check_phantoms`."""
    seen = _Seen()
    for done, case in enumerate(cases, start=1):
        if case.source != "phantom":
            raise UserError(f"{case.id} is no phantom; fix: check cases of the source phantom")
        seen.add(case, view_sizes)
        if progress is not None:
            progress(done, len(cases))
    plans = list(seen.plans.values())
    # One series of each phantom: a second one with the same lesion is no independent draw.
    lesions = [p for p in plans if p.variant == STUDY_LOOKS[p.name.look].shown[-1]]
    rows = [*seen.rows(), _split_row(plans), *_balance_rows(seen.asked, lesions)]
    if probe:
        rows += probe_rows(lesions, view_sizes)
    return CheckReport(tuple(rows))


def is_textured(plan: StudyPlan) -> bool:
    """Whether the lesions of an image series show their kind."""
    return SIGNALS[plan.name.look].contrast(plan) > 0


def overview(study: Study, side: int) -> bytes:
    """A whole image as an episode shows it at a view size."""
    width, height = study.size
    across, down = study.true_size(width, height)
    factor = side / max(across, down)
    size = max(1, round(across * factor)), max(1, round(down * factor))
    return study.render((0.0, 0.0, float(width), float(height)), size).tobytes()


def windows(plan: StudyPlan) -> tuple[Window | None, ...]:
    """The study's own window (None), and some that lie between the tones of a lesion."""
    signal = TONED.get(plan.name.look)
    if signal is None or signal.window(plan) is None:
        return (None,)
    mean, contrast = signal.mean(plan, plan.findings[0]), signal.contrast(plan)
    return None, Window(mean, 1.0), Window(mean, 4.0 * contrast), Window(mean - contrast, 3.0)


class _Seen:
    """What was found in the studies looked at so far. Each is drawn once."""

    def __init__(self) -> None:
        self.plans: dict[str, StudyPlan] = {}
        self.asked: list[tuple[Case, StudyPlan]] = []
        self._compared: Counter[str] = Counter()
        self._leaks: dict[str, list[str]] = {}
        self._alike: list[str] = []
        self._lesions = 0
        self._wrong: list[str] = []

    def add(self, case: Case, view_sizes: Sequence[int] | None) -> None:
        plans = [study_of(image) for image in case.images]
        self.asked.append((case, plans[-1]))
        for fault in study_gold_faults(case, plans):
            self._wrong.append(f"{case.id}: {fault}")
        for plan in plans:
            if plan.uri not in self.plans:
                self.plans[plan.uri] = plan
                if plan.findings:
                    self._compare(plan, view_sizes)

    def _compare(self, plan: StudyPlan, view_sizes: Sequence[int] | None) -> None:
        twins = [with_other_kinds(plan, shift) for shift in range(len(KINDS))]
        studies = [opened(twin) for twin in twins]
        plane, index = plane_of(plan.name), plan.findings[0].images[0]
        firsts = [first_image(twin) for twin in twins]
        wholes = [study.image(plane, index) for study in studies]
        slabs = []
        if plan.depth > 1:
            self._same("the values of the first view are", plan, [_values(each) for each in firsts])
            slabs = [study.slab(plane, index, Slab(3)) for study in studies]
        for coarse in set(studies[0].planes) - {plane} if plan.depth == 1 else ():
            values = [study.values(coarse, 0).tobytes() for study in studies]
            self._same("the coarser levels are", plan, values)
        for side in view_sizes or firsts[0].view_sizes or ():
            what = f"{side} x {side} hides the kind:"
            self._same(f"first view {what}", plan, [overview(each, side) for each in firsts])
            for name, images in (("whole image", wholes), ("slab of three", slabs)):
                for window in windows(plan) if images else ():
                    shown = [_in(window, each) for each in images]
                    self._same(f"{name} {what}", plan, [overview(each, side) for each in shown])
        if is_textured(plan):
            self._lesions += 1
            x0, y0, x1, y1 = plan.box_px(plan.findings[0])
            window = windows(plan)[2] if len(windows(plan)) > 1 else None
            size = 2 * (x1 - x0), 2 * (y1 - y0)
            close = {_in(window, each).render((x0, y0, x1, y1), size).tobytes() for each in wholes}
            if len(close) < len(KINDS):
                self._alike.append(plan.uri)

    def _same(self, check: str, plan: StudyPlan, drawn: Sequence[bytes]) -> None:
        self._compared[check] += len(drawn) - 1
        if len(set(drawn)) > 1 and plan.uri not in self._leaks.setdefault(check, []):
            self._leaks[check].append(plan.uri)

    def rows(self) -> Iterator[CheckRow]:
        if not self._compared:
            yield CheckRow("first view", "warn", "no lesion seen", "give more cases")
        for check, count in sorted(self._compared.items()):
            leaks = self._leaks.get(check, [])
            name = check.removesuffix(":").removesuffix(" are")
            yield CheckRow(
                f"{name} are alike for all kinds" if check.endswith(" are") else name,
                "fail" if leaks else "pass",
                f"{len(leaks)} studies leak, of {count} pairs compared byte for byte",
                f"show it at another size; first leak: {leaks[0]}" if leaks else "",
            )
        yield CheckRow(
            "the original pixels show the kind",
            "fail" if self._alike else "pass" if self._lesions else "warn",
            f"{len(self._alike)} of {self._lesions} studies look alike in two kinds",
            f"two textures are the same, as in {self._alike[0]}" if self._alike else "",
        )
        yield CheckRow(
            "gold agrees with the pixels (box, mask, images, kind, mean, answer)",
            "fail" if self._wrong else "pass",
            f"{len(self._wrong)} faults in {len(self.asked)} cases",
            f"fix the plan or the drawing; first fault: {self._wrong[0]}" if self._wrong else "",
        )


def _values(study: Study) -> bytes:
    return study.pixels.tobytes()


def _in(window: Window | None, study: Study) -> Study:
    return study if window is None else replace(study, window=window)


def _split_row(plans: Sequence[StudyPlan]) -> CheckRow:
    """No background in two splits."""
    faults = []
    for plan in plans:
        for split in SPLITS:
            twin = study_plan(split, plan.name, plan.number % SPLITS[split], plan.variant)
            if split != plan.split and (
                twin.seed == plan.seed
                or FIRST[split] + twin.number == FIRST[plan.split] + plan.number
            ):
                faults.append(f"{plan.uri} is {twin.uri}")
    return CheckRow(
        "splits are disjoint",
        "fail" if faults else "pass",
        f"{len(faults)} overlaps in {len(plans)} studies",
        f"give each split its own numbers; first overlap: {faults[0]}" if faults else "",
    )


def _balance_rows(
    asked: Sequence[tuple[Case, StudyPlan]], lesions: Sequence[StudyPlan]
) -> Iterator[CheckRow]:
    """Chi-square: each question's answers, and the kind against what a blind policy could know."""
    for question, asks in STUDY_QUESTIONS.items():
        here = [case.answer for case, _ in asked if case.question == asks.text]
        if here:
            counts = Counter(here)
            options = asks.options or sorted(counts)
            figure = ", ".join(f"{option} {counts[option]}" for option in options)
            table = np.array([[counts[option] for option in options]])
            yield judged(f"answers to {question} are balanced", table, figure)
    found = [plan.findings[0] for plan in lesions]
    brightness = [float(_bare(plan).mean()) for plan in lesions]
    for name, values in {
        "side": [plan.side(plan.findings[0]) for plan in lesions],
        "row": quartiles([plan.box_px(plan.findings[0])[1] / plan.size for plan in lesions]),
        "image": quartiles([each.first for each in found]),
        "size": [str(len(each.cells)) for each in found],
        "mean": [str(each.level) for each in found],
        "parity of the number": [str(plan.number % 2) for plan in lesions],
        "brightness of the background": quartiles(brightness),
    }.items():
        pairs = Counter(zip(values, (each.kind for each in found), strict=True))
        table = np.array([[pairs[v, kind] for kind in KINDS] for v in sorted(set(values))])
        if len(table) > 1:
            yield judged(f"the kind does not go with the {name}", table, "")


def _bare(plan: StudyPlan) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    study = opened(replace(plan, findings=()))
    return study.values(plane_of(plan.name), 0)
