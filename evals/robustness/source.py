"""The source `variant`: the cases of another spec, changed in one way.

`variant,of="phantom:test[:40]",by=gaussian-noise-3:all`. Ids are `ID~VARIANT`, so that a case and
its variants can stand in one run; the group, the source and the gold stay, so that intervals and
paired tests hold. A case that a variant does not fit is left out and counted.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from medgym.cases import Case
from medgym.errors import UserError
from medgym.imaging.study import ImageRef, ImagingStudy, Study
from medgym.lazy_sequence import LazySequence
from medgym.seeds import seed_of
from medgym.source import Source

from .changed import SCHEME, changed_ref, open_changed
from .corruptions.apply import BLANK, ImageChange
from .corruptions.severities import kind_of, strengths
from .options import other_order
from .originals import Originals, originals
from .paraphrases import paraphrase, read_paraphrases
from .variants import (
    CLEAN,
    EXCHANGED,
    OPTIONS,
    OTHER_VIEWS,
    PARAPHRASE,
    TEXT_ONLY,
    WITHOUT_IMAGES,
    Variant,
)

MARK = "~"
"""Stands between the id of a case and the name of its variant."""


class VariantSource(Source):
    """The source `variant`.

    Args:
        of: the spec of the cases.
        by: the variant: clean, a corruption with its severity such as gaussian-noise-3, options,
            paraphrase, blank, exchanged, other-views or text-only.
        limit: at most so many of the cases.
        paraphrases: a file of paraphrases, for `by=paraphrase`.
    """

    name: ClassVar[str] = SCHEME
    splits = ("all",)

    def __init__(
        self, *, of: str, by: str, limit: str | None = None, paraphrases: str | None = None
    ) -> None:
        self.variant = Variant.named(by)
        if limit is not None and not (limit.isdecimal() and int(limit) > 0):
            raise UserError(f"limit={limit} is no number of cases; fix: write one above 0")
        self._originals = originals(of, None if limit is None else int(limit))
        self._given = None if paraphrases is None else read_paraphrases(Path(paraphrases))
        size = self._originals.cases.view_size
        self.view_sizes = None if size is None else (size,)

    def cases(self, split: str) -> "VariantCases":
        """The cases that the variant fits."""
        return VariantCases(self._originals, self.variant, self._given)

    def notes(self, split: str) -> tuple[str, ...]:
        """What is to be said of the original cases."""
        return self._originals.cases.notes if self.variant.name == CLEAN else ()

    def leaks(self, split: str) -> tuple[str, ...]:
        """Those of the original cases."""
        return self._originals.cases.leaks

    @classmethod
    def open_image(cls, ref: ImageRef) -> Study | ImagingStudy:
        """Open an image and change it."""
        return open_changed(ref)


class VariantCases(LazySequence[Case]):
    """The cases that a variant fits, each changed when it is asked for.

    Attributes:
        dropped: the cases that it does not fit, and why.
    """

    unique_ids: ClassVar[bool] = True  # the original cases are checked, and ids follow from theirs

    def __init__(
        self, cases: Originals, variant: Variant, given: Mapping[str, str] | None = None
    ) -> None:
        self._originals = cases
        self._variant = variant
        self._given = given
        self.dropped: list[tuple[str, str]] = []
        self._places: list[int] = []
        for place, summary in enumerate(cases.summaries):
            why = self._unfit(place)
            if why is None:
                self._places.append(place)
            else:
                self.dropped.append((summary.id, why))

    def __len__(self) -> int:
        return len(self._places)

    def item(self, index: int) -> Case:
        """The changed case."""
        place = self._places[index]
        case = self._originals.cases[place]
        if self._variant.name == CLEAN:
            return case
        update = {"id": f"{case.id}{MARK}{self._variant}", **self._update(case, place)}
        return case.model_copy(update=update)

    def _unfit(self, place: int) -> str | None:
        """Why the variant does not fit a case; None where it does."""
        name, summary = self._variant.name, self._originals.summaries[place]
        if name == CLEAN:
            return None
        if name == OPTIONS:
            fits = other_order(self._originals.cases[place]) is not None
            return None if fits else "no options, or their order has a meaning"
        if name == PARAPHRASE:
            case = self._originals.cases[place]
            rules = f"no rule for such a question in {case.language!r}"
            why = rules if self._given is None else "the file has no paraphrase of it"
            return None if paraphrase(case, self._given) is not None else why
        if not summary.images:
            return "no image"
        if self._variant.severity:
            fits = name in strengths(summary.modality)
            return None if fits else f"{name} does not occur in images of {summary.modality}"
        if name != BLANK and name in WITHOUT_IMAGES and summary.answer_type == "region":
            return "it asks for a place in the image"
        if name == OTHER_VIEWS and len(self._originals.groups) < 2:
            return "no case of another group"
        if name == EXCHANGED and place not in self._originals.partners:
            return f"no case of {summary.modality} with as many images has another answer"
        return None

    def _update(self, case: Case, place: int) -> Mapping[str, object]:
        """The fields in which a variant differs."""
        name = self._variant.name
        if name == OPTIONS:
            return {"options": other_order(case)}
        if name == PARAPHRASE:
            return {"question": paraphrase(case, self._given)}
        if name == TEXT_ONLY:
            return {"images": (), "views": (), "regions": ()}
        if name == EXCHANGED:
            other = self._originals.cases[self._originals.partners[place]]
            return {"images": other.images, "views": other.views, "regions": ()}
        if name == OTHER_VIEWS:
            return {}
        images = (
            changed_ref(ref, self._change(case, number)) for number, ref in enumerate(case.images)
        )
        return {"images": tuple(images)}

    def _change(self, case: Case, image: int) -> ImageChange:
        seed = seed_of("corruption", case.id, image, self._variant)
        return ImageChange(self._variant.name, self._variant.severity, kind_of(case.modality), seed)
