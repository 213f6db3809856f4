"""The built-in models by the name under which `[model] build` asks for them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .base import BASES, tiny, tiny_consult
from .model import TinyConfig
from .tools import TOOLS, tiny_tools
from .volume import VOLUME, tiny_volume


@dataclass(frozen=True)
class Built:
    """A built-in model.

    Attributes:
        model: its sizes. make: gives its folder, and makes it on first use.
    """

    model: TinyConfig
    make: Callable[[], Path]


BUILT = {
    "tiny": Built(BASES["tiny"].model, tiny),
    "tiny-consult": Built(BASES["tiny-consult"].model, tiny_consult),
    "tiny-tools": Built(TOOLS.model, tiny_tools),
    "tiny-volume": Built(VOLUME.model, tiny_volume),
}
