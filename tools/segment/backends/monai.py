"""`monai`: a MONAI bundle of a network that segments images or volumes.

The network sees the values themselves (Hounsfield units, grey values), not the window of the view:
a bundle's own preprocessing says what it takes. A bundle for volumes sees the whole stack of the
addressed plane, at its place in the patient, once; slices and volumes are read from its result.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from medgym.errors import ToolError, UserError
from medgym.imaging.opened import OpenedImage
from medgym.imaging.volumes.study import VolumeStudy
from medgym.tool import Fidelity

from ...models.bundle import Bundle, bundle
from ...models.bundle_network import Network, loaded_bundle
from ...models.checkpoint import named
from ...models.masks import class_of, whole_box, within
from ...models.shared import ModelPlace
from ..backend import PromptKind, Segmentation, SegmentationThrough, Segmenter, SegmentRequest

KEPT = 2
"""Volumes whose results are kept: a network for volumes takes seconds to minutes for one."""


@dataclass(frozen=True, eq=False)
class PixelClasses:
    """What a network says of each pixel of an image or a volume, x first.

    Attributes:
        sure: of each class, or of the best class where they exclude each other: 0 to 1.
        best: the best class; None where the classes do not exclude each other.
    """

    sure: NDArray[np.float16]
    best: NDArray[np.uint16] | None

    @classmethod
    def of(cls, scores: NDArray[np.float32], is_multi_label: bool) -> "PixelClasses":
        """From scores of (classes, x, y) or (classes, x, y, index)."""
        if is_multi_label:
            return cls(scores.astype(np.float16), None)
        return cls(scores.max(axis=0).astype(np.float16), scores.argmax(axis=0).astype(np.uint16))

    def found(self, number: int, at: Any) -> tuple[NDArray[np.bool_], NDArray[np.float16]]:
        """The mask of a class and how sure it is of each pixel, (y, x), of a part of the image."""
        if self.best is None:
            sure = self.sure[number][at].T
            return sure >= 0.5, sure
        mask = np.equal(self.best[at].T, number)
        return mask, self.sure[at].T


class MonaiBundle(Segmenter):
    """See the module.

    Args:
        model: the folder of the bundle.
        labels: `liver;spleen`: names for the channels of its output, in their order.
        trust_remote_code: run the Python code that comes with the bundle.
        device: `auto`, `cpu`, `cuda` or `cuda:N`. dtype: as `[model] dtype` of a recipe.

    Raises:
        UserError: there is no such bundle, or it cannot be used.
    """

    takes: ClassVar[tuple[PromptKind, ...]] = ("box", "text")
    fidelity: ClassVar[Fidelity] = "predicted"

    def __init__(
        self,
        model: str = "",
        labels: str = "",
        trust_remote_code: bool = False,
        device: str = "auto",
        dtype: str = "auto",
    ) -> None:
        self._place = ModelPlace(device, dtype)
        self._is_trusted = trust_remote_code
        what = "segment?backend=monai"
        self._bundle: Bundle = bundle(what, model, named(labels), trust_remote_code)
        self._place.declare(self)

    def segment(
        self, requests: Sequence[SegmentRequest]
    ) -> Sequence[Segmentation | ToolError | None]:
        """See `Segmenter.segment`."""
        found: list[Segmentation | ToolError | None] = [None] * len(requests)
        wanted: dict[int, int] = {}
        for place, request in enumerate(requests):
            try:
                wanted[place] = class_of(request.prompt.text, self._bundle.classes)
                self._require_volume(request)
            except ToolError as error:
                wanted.pop(place, None)
                found[place] = error
        places = list(wanted)
        if self._bundle.dims == 2:
            network = self._network()
            images = [_image(requests[place], self._bundle.channels) for place in places]
            results = network.scores([(each, np.eye(3)) for each in images])
            for place, scores in zip(places, results, strict=True):
                labelled = PixelClasses.of(scores, self._bundle.is_multi_label)
                found[place] = _found(requests[place], *labelled.found(wanted[place], ...))
            return found
        for place in places:
            request = requests[place]
            x0, y0, x1, y1 = map(int, whole_box(request.view_px))
            at = np.s_[x0:x1, y0:y1, request.place.index]
            found[place] = _found(request, *self._volume(request).found(wanted[place], at))
        return found

    def through(
        self, requests: Sequence[SegmentRequest]
    ) -> Sequence[SegmentationThrough | ToolError | None]:
        """See `Segmenter.through`. Of a volume it is what the network says of all images; a box
        chooses the pieces that it touches on the addressed image."""
        if self._bundle.dims == 2:
            return super().through(requests)
        found: list[SegmentationThrough | ToolError | None] = []
        for request in requests:
            try:
                self._require_volume(request)
                number = class_of(request.prompt.text, self._bundle.classes)
                found.append(_through(request, *self._volume(request).found(number, ...)))
            except ToolError as error:
                found.append(error)
        return found

    def _network(self) -> Network:
        return loaded_bundle(self._bundle, self._place, self._is_trusted)

    def _require_volume(self, request: SegmentRequest) -> None:
        if self._bundle.dims == 2:
            return
        if not request.is_grey:
            raise ToolError("segment: this model takes grey volumes; the view has colours")
        if request.image.planes[request.place.plane].count < 2:
            raise ToolError("segment: this model takes volumes; the view is of a single image")

    def _volume(self, request: SegmentRequest) -> PixelClasses:
        """What the network says of the stack of the plane, computed once."""
        key = self._bundle.folder, self._place, request.place.plane
        with _LOCK:
            of_image = _VOLUMES.setdefault(request.image, {})
            known = of_image.get(key)
            if known is None:
                stack, affine = _stack(request)
                (scores,) = self._network().scores([(stack, affine)])
                known = of_image[key] = PixelClasses.of(scores, self._bundle.is_multi_label)
            _keep(request.image, key)
            return known


BACKEND = MonaiBundle

_Key = tuple[str, ModelPlace, str]
_VOLUMES: WeakKeyDictionary[OpenedImage, dict[_Key, PixelClasses]] = WeakKeyDictionary()
_RECENT: OrderedDict[tuple[int, _Key], None] = OrderedDict()
_LOCK = threading.RLock()


def _keep(image: OpenedImage, key: _Key) -> None:
    """Drop the results that were not asked for lately."""
    _RECENT[id(image), key] = None
    _RECENT.move_to_end((id(image), key))
    while len(_RECENT) > KEPT:
        number, old = _RECENT.popitem(last=False)[0]
        for each, results in _VOLUMES.items():
            if id(each) == number:
                results.pop(old, None)


def _found(
    request: SegmentRequest, mask: NDArray[np.bool_], sure: NDArray[np.float16]
) -> Segmentation | None:
    region = whole_box(request.view_px)
    mask = within(np.ascontiguousarray(mask), region, request.prompt.box_px)
    if not mask.any():
        return None
    return Segmentation(region, mask, min(float(sure[mask].astype(np.float32).mean()), 1.0))


def _through(
    request: SegmentRequest, mask: NDArray[np.bool_], sure: NDArray[np.float16]
) -> SegmentationThrough | None:
    """All images on which a volume, (index, y, x), has something."""
    from scipy.ndimage import label

    region = 0.0, 0.0, float(request.size[0]), float(request.size[1])
    if request.prompt.box_px is not None:
        pieces, _ = label(mask)
        there = within(pieces[request.place.index] > 0, region, request.prompt.box_px)
        mask = mask & np.isin(pieces, np.unique(pieces[request.place.index][there]))
    images = {}
    for index in np.flatnonzero(mask.any(axis=(1, 2))).tolist():
        score = float(sure[index][mask[index]].astype(np.float32).mean())
        images[index] = Segmentation(region, mask[index], min(score, 1.0))
    if not images:
        return None
    return SegmentationThrough(images, float(np.mean([each.score for each in images.values()])))


def _values(request: SegmentRequest, index: int | None = None) -> NDArray[np.float32]:
    """The values of an image, (y, x) or (y, x, 3); what is no number is 0."""
    place = replace(request.place, window=None)
    if index is not None:
        place = replace(place, index=index, slab=None)
    return np.nan_to_num(request.image.at(place).pixels.astype(np.float32))


def _image(request: SegmentRequest, channels: int) -> NDArray[np.float32]:
    """The region of the view, (channels, x, y) as MONAI reads pictures."""
    x0, y0, x1, y1 = map(int, whole_box(request.view_px))
    values = _values(request)[y0:y1, x0:x1]
    if values.ndim == 2:
        values = np.repeat(values[..., None], channels, axis=2)
    elif channels == 1:
        values = (values @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    return np.ascontiguousarray(values.transpose(2, 1, 0))


def _stack(request: SegmentRequest) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """All images of the plane, (1, x, y, index), and their affine map to the patient (RAS)."""
    plane = request.image.planes[request.place.plane]
    stack = np.empty((1, *plane.size, plane.count), np.float32)
    for index in range(plane.count):
        values = _values(request, index)
        if values.ndim != 2:
            raise UserError("a volume of colours is not grey; fix: name another model")
        stack[0, :, :, index] = values.T
    return stack, _affine(request)


def _affine(request: SegmentRequest) -> NDArray[np.float64]:
    plane = request.image.planes[request.place.plane]
    affine = np.eye(4)
    study: Any = request.image.study
    name, _ = request.place.image
    if isinstance(study, VolumeStudy):
        origin = np.array(study.to_patient(name, 0, (0.5, 0.5)))
        ends = ((0, (1.5, 0.5)), (0, (0.5, 1.5)), (1, (0.5, 0.5)))
        for column, (index, point) in enumerate(ends):
            affine[:3, column] = np.array(study.to_patient(name, index, point)) - origin
        affine[:3, 3] = origin
    else:
        rows, columns = plane.spacing_mm or (1.0, 1.0)
        affine[:3, :3] = np.diag([columns, rows, 1.0])
        first, second = request.image.place_mm(request.place), None
        if first is not None and plane.count > 1:
            other = 0 if request.place.index else 1
            second = request.image.place_mm(replace(request.place, index=other, slab=None))
        if first is not None and second is not None:
            affine[2, 2] = (second - first) / (other - request.place.index)
    affine[:2] *= -1  # left and back are the other way around in MONAI
    return affine
