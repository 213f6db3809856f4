"""A case: one clinical question about one study. Frozen, cheap, holds no pixels.

Gold (`answer`, `regions`) lives here and reaches only rubrics and tools of oracle fidelity; nothing
that a policy, a view or an observation can reach holds a `Case`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from medgym.errors import UserError, unknown
from medgym.imaging.study import Box, ImageRef

if TYPE_CHECKING:
    import datasets

AnswerType = Literal["choice", "closed", "open", "region", "report"]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Mask(BaseModel):
    """A binary mask as row-major run lengths; the first run counts zeros (it may be 0)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int
    height: int
    counts: tuple[int, ...]

    @model_validator(mode="after")
    def _fills_its_frame(self) -> "Mask":
        if min(self.counts, default=0) < 0 or sum(self.counts) != self.width * self.height:
            raise ValueError("the run lengths of a mask must add up to width x height")
        return self

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> "Mask":
        """From a (height, width) array."""
        height, width = mask.shape
        flat = np.concatenate(([False], mask.ravel().astype(bool), [False]))
        edges = np.flatnonzero(flat[1:] != flat[:-1])
        runs = np.diff(np.concatenate(([0], edges, [height * width])))
        if runs.size > 1 and runs[-1] == 0:
            runs = runs[:-1]
        return cls(width=width, height=height, counts=tuple(int(run) for run in runs))

    def array(self) -> NDArray[np.bool_]:
        """(height, width) booleans."""
        value = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(value, self.counts).reshape(self.height, self.width)


class Region(BaseModel):
    """A gold finding: its label, its box and, where known, its mask, in original pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    box_px: Box
    mask: Mask | None = None
    image: int = 0


class CaseView(BaseModel):
    """A region of an image that an episode shows from the start, and who points to it.

    It is drawn from the image's own pixels. `box_px` is in original pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: int
    box_px: Box
    by: str = ""


class Case(BaseModel):
    """One question about one study, with its gold and its provenance.

    Attributes:
        id: `source/split/key`, durable and unique.
        images: where the images are, in the order in which they are shown.
        views: of regions of them, shown from the start beside the whole images.
        question, options, context: shown to the policy (`context`: history, indication).
        answer: gold, never shown; of a `choice` the text of the right option.
        regions: gold findings, never shown.
        modality: DICOM modality code. specialty: who reads it, triage's gold.
        group: patient (or image) key: the unit for splitting, for clustered statistics and for the
            guard of retrieval.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    images: tuple[ImageRef, ...]
    views: tuple[CaseView, ...] = ()
    question: str
    options: tuple[str, ...] = ()
    context: str = ""
    answer: str
    answer_type: AnswerType = "open"
    regions: tuple[Region, ...] = ()
    modality: str | None = None
    body_part: str | None = None
    specialty: str | None = None
    language: str = "en"
    group: str
    source: str
    split: str
    licence: str = ""


_SPACE = re.compile(r"\s+")


def normalised(text: str) -> str:
    """Lower case, single spaces, no full stop at the end: what must not decide about an answer."""
    return _SPACE.sub(" ", text).strip().rstrip(".").strip().casefold()


@dataclass(frozen=True)
class Answer:
    """A gold answer and the one strict rule of what counts as giving it.

    For a `choice` the reply must be the right option's letter or its text and nothing else; for the
    other types it must equal the text. Case, white space and a final full stop do not count.
    There is no substring and no nearest-option rule: "no" does not match inside "normal".
    """

    text: str
    type: AnswerType
    options: tuple[str, ...] = ()

    @classmethod
    def of(cls, case: Case) -> "Answer":
        """The gold of `case`."""
        return cls(case.answer, case.answer_type, case.options)

    def option(self, reply: str) -> str | None:
        """The option that `reply` names by letter or text, None where it names none."""
        return option_of(reply, self.options)

    def matches(self, reply: str) -> bool:
        """Whether `reply` gives this answer."""
        if self.options:
            return self.option(reply) == self.text
        return normalised(reply) == normalised(self.text)


def option_of(reply: str, options: Sequence[str]) -> str | None:
    """The one of `options` that `reply` names by its letter (A is the first), else by its text.

    A letter is a letter, even where the text of another option is that letter.
    """
    wanted = normalised(reply)
    named = dict(zip(LETTERS.casefold(), options, strict=False))
    if wanted in named:
        return named[wanted]
    return next((option for option in options if normalised(option) == wanted), None)


class CaseList(Sequence[Case]):
    """A lazy, sliceable view of a sequence of cases: an index makes one case and keeps none.

    Attributes:
        view_size: the greatest view size that the cases' source allows; None where any will do.
        all_gold: whether the source says that each case has gold.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        indices: range | None = None,
        view_size: int | None = None,
        all_gold: bool = False,
    ) -> None:
        self._cases = cases
        self._indices = range(len(cases)) if indices is None else indices
        self._by_id: dict[str, int] | None = None
        self.view_size = view_size
        self.all_gold = all_gold

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> "CaseList": ...
    def __getitem__(self, index: int | slice) -> "Case | CaseList":
        if isinstance(index, slice):
            return CaseList(self._cases, self._indices[index], self.view_size, self.all_gold)
        return self._cases[self._indices[index]]

    def __iter__(self) -> Iterator[Case]:
        return (self._cases[i] for i in self._indices)

    def find(self, case_id: str) -> Case:
        """The case of that id; `UserError` where it is not among these.

        A sequence that computes the place of an id offers `index_of(id) -> int`, -1 for none;
        others are read through once.
        """
        index_of = getattr(self._cases, "index_of", None)
        if index_of is not None:
            place: int = index_of(case_id)
        else:
            if self._by_id is None:
                self._by_id = {self._cases[i].id: i for i in self._indices}
            place = self._by_id.get(case_id, -1)
        if place not in self._indices:
            raise UserError(f"no case {case_id!r} among these; fix: check the id and the slice")
        case: Case = self._cases[place]
        return case


@dataclass(frozen=True)
class CaseSpec:
    """`SOURCE[,key=value,...]:SPLIT[SLICE]`, taken apart."""

    source: str
    options: tuple[tuple[str, str], ...]
    split: str
    slice: slice


_SPEC = re.compile(
    r"(?P<source>[^:,\[\]]+)(?P<options>(?:,[^:,=\[\]]+=[^:,\[\]]*)*):(?P<split>[^:,\[\]]+)"
    r"(?:\[(?P<start>-?\d{1,18})?:(?P<stop>-?\d{1,18})?(?::(?P<step>-?\d{1,18})?)?\])?"
)


def parse_spec(spec: str) -> CaseSpec:
    """Take a case spec apart; `UserError` where it has another form."""
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise UserError(
            f"cannot read the cases {spec!r}; write SOURCE:SPLIT, SOURCE:SPLIT[:100] or "
            "SOURCE,key=value:SPLIT[100:300]"
        )
    pairs = [pair.partition("=") for pair in match["options"].split(",")[1:]]
    bounds = [int(match[part]) if match[part] else None for part in ("start", "stop", "step")]
    if len({key for key, _, _ in pairs}) < len(pairs):
        raise UserError(f"an option of the cases {spec!r} is given twice; fix: give it once")
    if bounds[2] == 0:
        raise UserError(f"the slice of {spec!r} has a step of 0; fix: leave the step away")
    return CaseSpec(
        source=match["source"],
        options=tuple((key, value) for key, _, value in pairs),
        split=match["split"],
        slice=slice(*bounds),
    )


def open_cases(cases: "str | Path | Sequence[Case]") -> CaseList:
    """The cases that a spec names, lazily: `phantom:train`, `phantom,look=ct:test[:200]`.

    A spec that ends in `.jsonl` is a file of cases as `write_cases` writes it; a slice may follow.
    A sequence of cases is taken as it is.

    Raises:
        UserError: an unknown source, split or option, a malformed spec, or one that names no case.
    """
    if not isinstance(cases, str | Path):
        return _listed(cases)
    found = _opened(str(cases))
    if not found:
        raise UserError(f"{str(cases)!r} names no case; fix: widen the slice")
    return found


def _listed(cases: Sequence[Case]) -> CaseList:
    """A sequence of cases as a `CaseList`; only its first one is looked at."""
    if isinstance(cases, CaseList):
        return cases
    if not isinstance(cases, Sequence) or (len(cases) and not isinstance(cases[0], Case)):
        raise UserError(
            f"cannot read cases from a {type(cases).__name__}; fix: give a spec as "
            "'phantom:train[:10]', or a list of medgym.Case"
        )
    return CaseList(cases)


def _opened(spec: str) -> CaseList:
    if spec.endswith(".jsonl"):
        return CaseList(read_cases(Path(spec)))
    parts = parse_spec(spec)
    from medgym.registry import load

    source = load("sources", parts.source)(**dict(parts.options))
    if parts.split not in source.splits:
        raise unknown(f"split of {parts.source}", parts.split, source.splits)
    view_size = max(source.view_sizes) if source.view_sizes else None
    found = CaseList(source.cases(parts.split), None, view_size, source.all_gold)
    return found[parts.slice]


def write_cases(cases: Iterable[Case], path: Path) -> None:
    """Write cases as JSON lines, one case a line, gold included."""
    with path.open("w", encoding="utf-8") as stream:
        for case in cases:
            stream.write(case.model_dump_json(exclude_defaults=True) + "\n")


def read_cases(path: Path) -> list[Case]:
    """Read JSON lines written by `write_cases`; an error names the file, the line and the field."""
    if not path.is_file():
        raise UserError(f"no such file of cases: {path}; fix: check the path")
    cases = []
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the cases in {path} ({error}); fix: replace it") from error
    # Not `splitlines`: a question may hold one of the rarer line ends.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            cases.append(Case.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "the line"
            raise UserError(f"{path}, line {number}: {field}: {first['msg']}") from error
    return cases


def features() -> "datasets.Features":
    """The `datasets.Features` of a case, regions and masks included (needs the extra `train`)."""
    from datasets import Features, List, Value

    text, whole, real = Value("string"), Value("int64"), Value("float64")
    mask = {"width": whole, "height": whole, "counts": List(whole)}
    region = {"label": text, "box_px": List(real), "mask": mask, "image": whole}
    image = {"uri": text, "role": text, "frame": whole, "series": text}
    view = {"image": whole, "box_px": List(real), "by": text}
    plain = {name: text for name, field in Case.model_fields.items() if _is_text(field.annotation)}
    lists = {
        "images": List(image),
        "views": List(view),
        "options": List(text),
        "regions": List(region),
    }
    return Features({**plain, **lists})


def _is_text(annotation: Any) -> bool:
    return annotation in (str, str | None, AnswerType)


def to_rows(cases: Iterable[Case]) -> list[dict[str, Any]]:
    """Cases as plain rows that fit `features()`."""
    return [json.loads(case.model_dump_json()) for case in cases]
