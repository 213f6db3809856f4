"""Slabs: neighbouring images of a plane shown as one, by their mean, maximum or minimum.

The images are read one after the other. Their values are combined before they become grey, and what
holds no measurement counts for nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, get_args

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from pydantic import ConfigDict

from medgym.errors import UserError
from medgym.imaging.rendering import Study

How = Literal["mean", "maximum", "minimum"]


class NoSlab(UserError):
    """Images that cannot be shown as one."""


@dataclass(frozen=True)
class Slab:
    """How many neighbouring images are shown as one, and how their values are combined."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    count: Annotated[int, Ge(1)]
    how: How = "mean"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError("a slab holds at least one image")
        if self.how not in get_args(How):
            raise ValueError(f"a slab is the {', '.join(get_args(How))}, not {self.how!r:.40}")

    def around(self, index: int, images: int) -> range:
        """The indices of the slab whose middle is `index`, as far as there are images. Where the
        count is even, one more lies behind `index` than before it."""
        first = index - (self.count - 1) // 2
        return range(max(0, first), min(images, first + self.count))


def combined(images: Iterable[Study], middle: Study, how: How) -> Study:
    """Images of one size as one, with all else that `middle` says of itself.

    Args:
        images: those of the slab, one or more, of which one is in memory at a time.

    Raises:
        NoSlab: some are grey and others coloured.
    """
    kind = middle.pixels.dtype
    total: NDArray[Any] = np.zeros(middle.pixels.shape, np.float64 if how == "mean" else kind)
    count = np.zeros(total.shape[:2], np.int32)
    extreme = np.maximum if how == "maximum" else np.minimum
    for image in images:
        if image.pixels.ndim != total.ndim:
            raise NoSlab("grey and coloured images make no slab")
        kind = np.result_type(kind, image.pixels.dtype)
        known = _measured(image)
        here = known if total.ndim == 2 else known[..., None]
        if how == "mean":
            np.add(total, image.pixels, out=total, where=here)
        else:
            is_first = here & (count == 0).reshape(here.shape)
            total = np.where(
                is_first,
                image.pixels,
                np.where(here, extreme(total, image.pixels), total),
            )
        count += known
    if how == "mean":
        total /= np.maximum(count, 1).reshape((*count.shape, 1)[: total.ndim])
        kind = kind if kind.kind == "f" else np.dtype(np.float32)
        whole = middle.window is None
        total = np.rint(total).astype(middle.pixels.dtype) if whole else total.astype(kind)
    unknown = count == 0
    return replace(middle, pixels=total, hidden=unknown if unknown.any() else None)


def _measured(image: Study) -> NDArray[np.bool_]:
    """Which pixels hold a measurement."""
    known = np.ones(image.pixels.shape[:2], np.bool_)
    if image.pixels.dtype.kind == "f":
        numbers = ~np.isnan(image.pixels)
        known = numbers if numbers.ndim == 2 else numbers.all(axis=2)
    return known if image.hidden is None else known & ~image.hidden
