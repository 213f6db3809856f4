"""What finds the pixels for `segment`: a back end, a file of its own in `backends/`.

`backends/NAME.py` defines `BACKEND`, a subclass of `Segmenter`; nothing else names it. The tool
reads calls, reports and draws. A back end gets requests in original pixels, each with its prompt,
and returns for each where the structure is and how sure that is. It keeps no state of an episode:
what it finds depends on nothing but the request.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, ClassVar

from medgym.errors import ToolError, UserError, unknown
from medgym.tool import Fidelity

from .follow import followed
from .request import Binary as Binary
from .request import Point as Point
from .request import PromptKind as PromptKind
from .request import Segmentation as Segmentation
from .request import SegmentationThrough as SegmentationThrough
from .request import SegmentPrompt as SegmentPrompt
from .request import SegmentRequest as SegmentRequest


class Segmenter(ABC):
    """Finds structures. Its keyword parameters are options of the tool's spec, such as
    `segment?backend=NAME&model=DIR`; the default of each says its type.

    Attributes:
        takes: the kinds of prompt that it can use; others are refused before it is asked.
        fidelity, resources, batch_size: as of `Tool`, whose instance takes them over.
        needs_gold: whether its requests hold gold.
    """

    takes: ClassVar[tuple[PromptKind, ...]] = ("box", "points", "scribble")
    fidelity: ClassVar[Fidelity] = "vision"
    resources: ClassVar[Mapping[str, float]] = {}
    batch_size: ClassVar[int] = 1
    needs_gold: ClassVar[bool] = False

    @abstractmethod
    def segment(
        self, requests: Sequence[SegmentRequest]
    ) -> Sequence[Segmentation | ToolError | None]:
        """The structure of each request, in order; None where nothing is found.

        What is found for a request must not depend on the requests beside it. Load a model at the
        first call, not in `__init__`.
        """

    def through(
        self, requests: Sequence[SegmentRequest]
    ) -> Sequence[SegmentationThrough | ToolError | None]:
        """The structure of each request on all images of its plane.

        By default it is followed from image to image, by `segment` alone; a model for videos does
        it itself.
        """
        return [followed(self.segment, self.takes, request) for request in requests]


def backends() -> tuple[str, ...]:
    """The names of the back ends; nothing is imported."""
    from . import backends as folder

    return tuple(sorted(module.name for module in iter_modules(folder.__path__)))


def make_backend(name: str, options: Mapping[str, Any]) -> Segmenter:
    """The back end of that name, with its options.

    Raises:
        UserError: no back end or no option has that name, or an option has a wrong value.
    """
    known = backends()
    if name not in known:
        raise unknown("back end of segment", name, known)
    kind: type[Segmenter] = import_module(f"{__package__}.backends.{name}").BACKEND
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
