"""A check that one process fails at stops all of them, by the same words.

Each process looks at its own rows. If only one raised, the others would wait for it at their next
meeting.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from accelerate.utils import gather_object

from medgym.errors import RunError

if TYPE_CHECKING:
    from accelerate import Accelerator

Found = TypeVar("Found")


def together(accelerator: "Accelerator", check: Callable[[], Found]) -> Found:
    """What `check` gives in this process, if it raises in none.

    `check` must not meet other processes itself.

    Raises:
        RunError: it raised here, or in another process.
    """
    if accelerator.num_processes == 1:
        return check()
    own: RunError | None = None
    found: list[Found] = []
    try:
        found.append(check())
    except RunError as error:
        own = error
    said = gather_object([str(own or "")])
    if own is not None:
        raise own
    for text in filter(None, said):
        raise RunError(text)
    return found[0]
