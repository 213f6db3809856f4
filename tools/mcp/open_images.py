"""The images that clients of a server have open, each with a workspace of its own.

The protocol has no sessions any more: two calls of one client need not share a connection. So a
client addresses what it opened by a handle, which nobody can guess, and no client reaches the views
of another. Images that were not used for longest are closed when there are too many.
"""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from medgym.errors import ToolError
from medgym.imaging.opened import opened_image
from medgym.imaging.slides.study import SlideStudy
from medgym.imaging.study import ImageRef, need_of, open_study
from medgym.imaging.volumes.study import VolumeStudy
from medgym.memory import image_memory, readable
from medgym.workspace import Workspace

MOST_OPEN = 32
"""Images that are open at once."""

MOST_VIEWS = 100
"""Views of one open image: at 448 pixels a side some 60 MB."""


@dataclass
class OpenImage:
    """An image, or a current and a prior one, with all views of it.

    Attributes:
        handle: by which its client addresses it.
        need: bytes of memory that it may take.
        busy: held while a call works in the workspace: its views are numbered one after the other.
    """

    handle: str
    workspace: Workspace
    need: int
    busy: threading.Lock = field(default_factory=threading.Lock)


class OpenImages:
    """What is open, bounded in number and memory.

    Args:
        view_size: the greatest side of a view, in pixels.
    """

    def __init__(self, view_size: int) -> None:
        self._view_size = view_size
        self._open: OrderedDict[str, OpenImage] = OrderedDict()
        self._lock = threading.Lock()
        self._opening = threading.Lock()

    def open(self, refs: Sequence[ImageRef]) -> OpenImage:
        """Open the images that a client named, as those of one workspace.

        Raises:
            UserError: one cannot be read.
            ToolError: they take more memory than there is.
        """
        with self._opening:  # one after the other: together they might take more than there is
            refs = [_placed(ref) for ref in refs]
            need = sum(need_of(ref) for ref in refs) + 3 * MOST_VIEWS * self._view_size**2
            most = image_memory()
            if need > most:
                raise ToolError(
                    f"this takes {readable(need)} of memory, and images may take {readable(most)}; "
                    "expected a smaller image"
                )
            self._make_room(need, most)
            workspace = Workspace([opened_image(ref) for ref in refs], view_size=self._view_size)
            made = OpenImage(secrets.token_hex(8), workspace, need)
            with self._lock:
                self._open[made.handle] = made
            return made

    def get(self, handle: str) -> OpenImage:
        """What a client has opened.

        Raises:
            ToolError: there is no such handle, or it was closed since.
        """
        with self._lock:
            found = self._open.get(handle)
            if found is None:
                raise ToolError(
                    f"there is no open image {handle[:40]!r}, or it was closed as others were "
                    "opened; expected the handle that open_image returned"
                )
            self._open.move_to_end(handle)
            return found

    def _make_room(self, need: int, most: int) -> None:
        with self._lock:
            while self._open and (len(self._open) >= MOST_OPEN or need + self._needed() > most):
                self._open.popitem(last=False)

    def _needed(self) -> int:
        return sum(each.need for each in self._open.values())


def _placed(ref: ImageRef) -> ImageRef:
    """The same image, with the plane and the index at which it is shown first.

    Where the client names none, it is the middle of the plane in which the images were taken.
    """
    study = open_study(ref)
    planes = study.planes
    if ref.frame is not None or isinstance(study, SlideStudy):
        return ref
    if sum(plane.count for plane in planes.values()) == 1:
        return ref
    plane = ref.plane
    if plane is None:
        taken = study.grid.acquired if isinstance(study, VolumeStudy) else ""
        most = max(planes, key=lambda name: planes[name].count)
        plane = taken if taken in planes else most
    if plane not in planes:
        return ref  # opening it says what there is
    index = planes[plane].count // 2 if ref.index is None else ref.index
    return ref.model_copy(update={"plane": plane, "index": index})
