"""The images of a case, opened, and how large they may be shown."""

import itertools
from collections.abc import Sequence

from medgym.cases import Case, CaseList
from medgym.errors import UserError
from medgym.imaging.opened import OpenedImage, UnreadableImage, opened_image
from medgym.imaging.slides.study import FINEST
from medgym.imaging.study import Study, open_image
from medgym.registry import names

ASKED = 8
"""Cases whose images are opened until one says how large it may be shown."""


def opened_images(case: Case) -> list[OpenedImage]:
    """The images of a case, opened.

    Raises:
        UnreadableImage: one cannot be; the case is named, and why.
    """
    try:
        return [opened_image(ref) for ref in case.images]
    except UserError as error:
        raise UnreadableImage(
            f"an image of the case {case.id!r} cannot be read: {error}"
        ) from error


def check_regions(case: Case, images: Sequence[Study | OpenedImage]) -> None:
    """Refuse gold that lies on whatever image an episode happens to start with.

    Args:
        images: those of the case, opened.

    Raises:
        UnreadableImage: a region lies in an image of several, and neither says in which.
    """
    for region in case.regions:
        if region.plane is not None or not 0 <= region.image < len(images):
            continue
        ref, image = case.images[region.image], images[region.image]
        named = (ref.plane, ref.index, ref.frame) != (None, None, None)
        if not isinstance(image, OpenedImage) or image.place.plane == FINEST:
            continue  # where a slide starts, and which all its boxes are of
        if not named and image.has_many:
            raise UnreadableImage(
                f"the region {region.label!r} does not say in which plane and at which index of "
                f"image {region.image} it lies; fix: give it both"
            )


def names_of(case: Case) -> tuple[str, ...]:
    """What names a case to a tool that must not give its gold away: its id, its group, where its
    images are; of a variant (`ID~VARIANT`, images at `variant:CHANGE:URI`) also the original."""
    locations = [ref.location for ref in case.images]
    originals = [each.split(":", 2)[2] for each in locations if each.startswith("variant:")]
    return case.id, case.id.partition("~")[0], case.group, *locations, *originals


def asked_view_size(cases: CaseList) -> int | None:
    """The view size that the cases' source asks for, also where they were filtered or stored."""
    if cases.view_size is not None:
        return cases.view_size
    known = names("sources")
    for case in itertools.islice(cases, ASKED):
        image = next((i for i in case.images if i.uri.partition(":")[0] in known), None)
        if image is None:
            return None
        try:
            return max(open_image(image).view_sizes or (0,))
        except UserError:  # it is unreadable, which costs only its case
            continue
    return None


def check_view_size(view_size: int, multiple: int) -> None:
    """`UserError` if views cannot have sides up to `view_size` that are multiples of `multiple`."""
    if view_size < 1:
        raise UserError(f"view_size is {view_size}; fix: show at least one pixel")
    if multiple < 1:
        raise UserError(f"view_multiple is {multiple}; fix: give 1 or more")
    if view_size % multiple:
        near = max(1, round(view_size / multiple)) * multiple
        raise UserError(
            f"view_size {view_size} is no multiple of view_multiple {multiple}; fix: set "
            f"view_size to {near}, or omit view_multiple"
        )
