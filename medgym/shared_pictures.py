"""Pictures of regions that are drawn once for all views of them."""

from weakref import WeakKeyDictionary, WeakValueDictionary

from medgym.imaging.lazy_image import Picture
from medgym.imaging.opened import ImagePlace, OpenedImage
from medgym.imaging.study import Box, Study

_Key = tuple[ImagePlace, Box, tuple[int, int]]
_PICTURES: WeakKeyDictionary[Study, WeakValueDictionary[_Key, Picture]] = WeakKeyDictionary()


def shared_picture(
    opened: OpenedImage, place: ImagePlace, box_px: Box, size: tuple[int, int]
) -> Picture:
    """A region as a picture, shared by all views of it.

    The members of a group share their images, so they draw and hash their first views once.
    """
    pictures = _PICTURES.get(opened.start)
    if pictures is None:
        pictures = _PICTURES.setdefault(opened.start, WeakValueDictionary())
    key = place, box_px, size
    picture = pictures.get(key)
    if picture is None:
        x0, y0, x1, y1 = box_px
        reads = (x1 - x0) * (y1 - y0)
        picture = Picture(size, lambda: opened.render(place, box_px, size), reads=reads)
        pictures[key] = picture
    return picture
