"""What finds the pixels for `segment`: a back end, a file of its own in `backends/`.

`backends/NAME.py` defines `BACKEND`, a subclass of `Backend`; nothing else names it. The tool reads
calls, reports and draws. A back end gets requests in original pixels, each with its prompt, and
returns for each where the structure is and how sure that is. It keeps no state of an episode:
what it finds depends on nothing but the request.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from medgym.errors import ToolError, UserError, unknown
from medgym.gold_tool import Gold
from medgym.imaging.opened import ImagePlace, OpenedImage
from medgym.imaging.study import Box
from medgym.tool import Fidelity

Binary = NDArray[np.bool_]
Point = tuple[float, float]

PromptKind = Literal["box", "points", "scribble", "text"]


@dataclass(frozen=True)
class Prompt:
    """Where a structure is, in original pixels, or what it is. One part or more is given.

    Attributes:
        box_px: a box around it, of whole pixels.
        points_px: (x, y) of points.
        labels: for each point whether it lies in the structure (else beside it).
        scribble_px: (x, y) of the corners of a line that lies in the structure.
        text: what the structure is, such as "liver".
    """

    box_px: Box | None = None
    points_px: tuple[Point, ...] = ()
    labels: tuple[bool, ...] = ()
    scribble_px: tuple[Point, ...] = ()
    text: str | None = None

    @property
    def kinds(self) -> tuple[PromptKind, ...]:
        """Which parts are given."""
        given: dict[PromptKind, object] = {
            "box": self.box_px,
            "points": self.points_px,
            "scribble": self.scribble_px,
            "text": self.text,
        }
        return tuple(kind for kind, value in given.items() if value)


@dataclass(frozen=True, eq=False)
class Request:
    """One structure that is asked for, on one image.

    Attributes:
        image: the image, with all that its study has.
        place: the plane, the index, the slab and the window that the addressed view shows.
        view_px: the region that the view shows, in original pixels.
        prompt: where the structure is, or what it is.
        number: which of the case's images it is.
        gold: what a back end that `needs_gold` may know; of others it is empty.
    """

    image: OpenedImage
    place: ImagePlace
    view_px: Box
    prompt: Prompt
    number: int = 0
    gold: Gold = field(default_factory=Gold)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the image in original pixels."""
        return self.image.size(self.place)

    def picture(self, box_px: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
        """A region as the view shows it, resampled: (height, width, 3). Only what lies under the
        box is read, also of a slide; it shrinks by area averages."""
        return np.asarray(self.image.render(self.place, box_px, size))

    @property
    def is_grey(self) -> bool:
        """Whether the three channels of `picture` are alike."""
        study = self.image.start
        return study.window is not None or study.pixels.ndim == 2

    def at(self, index: int) -> "Request":
        """The same request on another image of the plane, without a slab."""
        return replace(self, place=replace(self.place, index=index, slab=None))


@dataclass(frozen=True, eq=False)
class Found:
    """A structure on one image.

    Attributes:
        region_px: the part of the image that the mask is of: whole original pixels.
        mask: (height, width) over the region: one entry for each original pixel, or fewer where
            the region was averaged down. At least one entry is true.
        score: how sure it is, 0 to 1.
    """

    region_px: Box
    mask: Binary
    score: float


@dataclass(frozen=True, eq=False)
class FoundThrough:
    """A structure through a volume: what was found on each image of the plane, by index."""

    images: Mapping[int, Found]
    score: float = 1.0


class Backend(ABC):
    """Finds structures. Its keyword parameters are options of the tool's spec, such as
    `segment?backend=NAME&model=DIR`; the default of each says its type.

    Attributes:
        takes: the kinds of prompt that it can use; others are refused before it is asked.
        combines: whether it can use several kinds at once, such as a box and points.
        fidelity, resources, batch_size: as of `Tool`, whose instance takes them over.
        needs_gold: whether its requests hold gold.
    """

    takes: ClassVar[tuple[PromptKind, ...]] = ("box", "points", "scribble")
    fidelity: ClassVar[Fidelity] = "vision"
    resources: ClassVar[Mapping[str, float]] = {}
    batch_size: ClassVar[int] = 1
    needs_gold: ClassVar[bool] = False

    @abstractmethod
    def segment(self, requests: Sequence[Request]) -> Sequence[Found | ToolError | None]:
        """The structure of each request, in order; None where nothing is found.

        What is found for a request must not depend on the requests beside it. Load a model at the
        first call, not in `__init__`.
        """

    def through(self, requests: Sequence[Request]) -> Sequence[FoundThrough | ToolError | None]:
        """The structure of each request on all images of its plane.

        By default it is followed from image to image, by `segment` alone; a model for videos does
        it itself.
        """
        from .follow import followed

        return [followed(self, request) for request in requests]


def backends() -> tuple[str, ...]:
    """The names of the back ends; nothing is imported."""
    from . import backends as folder

    return tuple(sorted(module.name for module in iter_modules(folder.__path__)))


def make_backend(name: str, options: Mapping[str, Any]) -> Backend:
    """The back end of that name, with its options.

    Raises:
        UserError: no back end or no option has that name, or an option has a wrong value.
    """
    known = backends()
    if name not in known:
        raise unknown("back end of segment", name, known)
    kind: type[Backend] = import_module(f"{__package__}.backends.{name}").BACKEND
    takes = {
        each.name: each
        for each in inspect.signature(kind).parameters.values()
        if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)
    }
    for option in options:
        if option not in takes:
            raise unknown(f"option of segment's back end {name}", option, takes)
    for option, each in takes.items():
        if each.default is each.empty and option not in options:
            raise UserError(
                f"segment?backend={name} needs the option {option}; fix: write "
                f"segment?backend={name}&{option}=VALUE"
            )
    return kind(**_converted(name, takes, options))


def _converted(
    name: str, takes: Mapping[str, inspect.Parameter], options: Mapping[str, Any]
) -> dict[str, Any]:
    from pydantic import TypeAdapter, ValidationError

    made = {}
    for option, value in options.items():
        try:
            made[option] = TypeAdapter[Any](takes[option].annotation).validate_python(value)
        except ValidationError as error:
            said = error.errors(include_url=False)[0]["msg"]
            raise UserError(
                f"segment?backend={name}: {option}={str(value)[:80]!r}: {said}; fix: correct it"
            ) from None
    return made
