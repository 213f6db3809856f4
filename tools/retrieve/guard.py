"""The guard of `retrieve`: what may be handed out on the case that is played.

It is asked about each document when it is about to be handed out, and nothing is handed out but
through it: no case with the id, the group or an image (by URI, by pixels, or as a near duplicate)
of the case that is being played, no case outside the training split, and no passage that names the
case or its group. What cannot be checked, as an image that does not open, is withheld.
"""

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol
from weakref import WeakKeyDictionary

from medgym.imaging.opened import OpenedImage
from medgym.imaging.study import Study
from medgym.leaks.fingerprint import COMPARED, Fingerprint, fingerprint_of, series_prints
from medgym.leaks.search import alike, is_near
from medgym.sources.clean import published
from medgym.workspace import Workspace

SPLIT = "train"
"""The one split whose cases may be handed out."""

_PIECE = re.compile(r"/\d+$")
"""What the id of a passage ends in where it is a later piece of a long one."""


class Guarded(Protocol):
    """What the guard asks about a document.

    Attributes:
        split: of a case; None for a passage.
        locations: where the images of a case are.
        prints: the fingerprints of these images. May raise where one cannot be opened.
    """

    @property
    def id(self) -> str: ...
    @property
    def group(self) -> str | None: ...
    @property
    def split(self) -> str | None: ...
    @property
    def locations(self) -> Sequence[str]: ...
    @property
    def prints(self) -> Sequence[Fingerprint]: ...


_ASKED: WeakKeyDictionary[OpenedImage, tuple[Fingerprint, ...]] = WeakKeyDictionary()


def prints_of(image: OpenedImage) -> tuple[Fingerprint, ...]:
    """The fingerprints of an image of the case that is played, taken once for all its episodes: of
    what is shown first, of the images of its series, and, where these were changed, of what they
    were made of."""
    found = _ASKED.get(image)
    if found is None:
        taken = list(map(fingerprint_of, _with_originals(image)))
        study = image.study if image.has_many else None
        while study is not None:
            taken += series_prints(study, COMPARED)
            study = study.of
        found = _ASKED[image] = tuple(taken)
    return found


def _with_originals(image: OpenedImage) -> list[Study]:
    """What an image starts with, and what that was made of, step by step."""
    found = [image.start]
    while (original := found[-1].original) is not None:
        found.append(original)
    if image.has_many and image.place.slab is not None:  # a slab does not say of what it was made
        study = image.study
        while study.of is not None:
            study = study.of
            found.append(study.slab(*image.place.image, image.place.slab))
    return found


_COMPARED: dict[bytes, bool] = {}
"""What comparisons said: the members of a group, and the calls of an episode, repeat them."""

_MOST = 200_000


def _near(one: Fingerprint, other: Fingerprint) -> bool:
    if one.sha256 == other.sha256:
        return True
    key = blake2b(digest_size=16)
    for each in (one, other):
        key.update(each.sha256.encode() + each.thumb.tobytes())
    found = _COMPARED.get(key.digest())
    if found is None:
        found = is_near(one, other)
        if len(_COMPARED) >= _MOST:
            _COMPARED.clear()
        _COMPARED[key.digest()] = found
    return found


def allowed(document: Guarded, workspace: Workspace) -> bool:
    """Whether a document may be handed to the policy on the case of `workspace`.

    Images are compared by their pixels and by perceptual hashes, so a copy that was re-encoded,
    resized, made grey or cut by up to 5 % at a side is withheld too (see `medgym.leaks`). Of series
    five images of the document's are compared with all of the case's, at most `COMPARED`.
    """
    if workspace.is_named(document.id) or workspace.is_named(document.group):
        return False
    if document.split is None:
        return not workspace.is_named(_PIECE.sub("", document.id))
    if published(document.split) != SPLIT:
        return False
    if any(workspace.is_named(location) for location in document.locations):
        return False
    try:
        theirs = document.prints
        ours = [each for image in workspace.images for each in prints_of(image)]
        return not any(_near(one, other) for one, other in alike(theirs, ours))
    except Exception:  # whatever hinders the check, what was not checked is not handed out
        return False
