"""Classifiers of chest radiographs in the way of torchxrayvision: several findings at once.

They take grey pictures of one channel in -1024..1024, cut square and shrunk to the resolution that
they were trained at, with torchxrayvision's own transforms. A file of weights is read without
running code from it; a name is one that the library has downloaded already.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medgym.errors import UserError

from ..models.numbers import require_numbers
from ..models.shared import BATCH, ModelPlace, Shared, shared

RESOLUTION = 224
"""Pixels a side of the densely connected networks."""

_LAYER = re.compile(r"features\.denseblock(\d+)\.denselayer(\d+)\.")
_RESIZED = re.compile(r"res(\d+)")


class XRayClassifier:
    """A classifier of torchxrayvision.

    Attributes:
        name: of the model. classes: those that it knows.

    Args:
        model: a file of weights, or a name such as `densenet121-res224-all`.
        labels: names for the classes of a file, in their order.

    Raises:
        UserError: the library is not installed, or there is no such model.
    """

    by_text = False

    def __init__(self, model: str, labels: Sequence[str], place: ModelPlace) -> None:
        if not model:
            raise UserError(
                "classify has no model; fix: write "
                "classify?backend=torchxrayvision&model=FILE_OR_NAME"
            )
        self._place = place
        self._labels = tuple(labels)
        path = Path(model).expanduser()
        self._file = str(path) if path.exists() else ""
        self.name = path.name if self._file else model
        xrv = _library()
        if self._file:
            if not path.is_file():
                raise UserError(f"{model} is no file of weights; fix: name the file")
            self.classes = self._labels or tuple(xrv.models.DenseNet.targets)
            self._resolution = RESOLUTION
            return
        if labels:
            raise UserError(
                f"classify: the classes of {model} have names; fix: remove labels, which name "
                "those of a file"
            )
        known = [name for name in xrv.models.model_urls if "-" in name]
        if model not in known:
            raise UserError(
                f"no such model: {model} is neither a file nor one of {', '.join(known)}; fix: "
                "check the path"
            )
        url = xrv.models.model_urls[model]["weights_url"]
        cached = Path(xrv.utils.get_cache_dir()).expanduser() / Path(url).name
        if not cached.is_file():
            raise UserError(
                f"the weights of {model} are not on this machine, and tools download nothing; fix: "
                f"download {url} to {cached}"
            )
        self.classes = tuple(name for name in xrv.models.model_urls[model]["labels"] if name)
        found = _RESIZED.search(model)
        self._resolution = int(found[1]) if found is not None else RESOLUTION

    def scores(
        self, pictures: Sequence[Image.Image], labels: Sequence[tuple[str, ...]]
    ) -> list[dict[str, float]]:
        """The score of each class, which do not exclude each other."""
        import torch

        key = "torchxrayvision", self._file or self.name, self._place, self._labels
        held = shared(key, self._load)
        rows: list[list[float]] = []
        with held.lock, torch.inference_mode():
            for start in range(0, len(pictures), BATCH):
                made = [self._input(each) for each in pictures[start : start + BATCH]]
                batch = torch.from_numpy(np.stack(made)).to(held.device)
                outputs = held.model(batch)
                if getattr(held.model, "op_threshs", None) is None:
                    outputs = outputs.sigmoid()
                rows += outputs.float().cpu().tolist()
        named = held.processor
        for row in rows:
            require_numbers(self.name, (v for v, name in zip(row, named, strict=True) if name))
        return [
            {name: float(value) for name, value in zip(named, row, strict=True) if name}
            for row in rows
        ]

    def _input(self, picture: Image.Image) -> Any:
        xrv = _library()
        grey = np.asarray(picture.convert("L"), dtype=np.float32)[None]
        whole = xrv.utils.normalize(grey, 255)
        square = xrv.datasets.XRayCenterCrop()(whole)
        return xrv.datasets.XRayResizer(self._resolution)(square)

    def _load(self) -> Shared:
        from medgym.model_loading import device_of

        xrv = _library()
        if self._file:
            model, classes = _from_file(xrv, self._file, self._labels)
        else:
            model = xrv.models.get_model(self.name)
            classes = list(model.pathologies)
        device = device_of(self._place.options)
        return Shared(model.to(device).eval(), classes, device)


def _library() -> Any:
    try:
        import torchxrayvision
    except ModuleNotFoundError as error:
        raise UserError(
            "torchxrayvision is not installed; fix: pip install torchxrayvision"
        ) from error
    return torchxrayvision


def _from_file(xrv: Any, file: str, labels: Sequence[str]) -> tuple[Any, list[str]]:
    """A densely connected network and its classes, from its weights or from a saved network."""
    import torch

    with torch.serialization.safe_globals(_safe(xrv)):
        saved = torch.load(file, map_location="cpu", weights_only=True)
    is_network = isinstance(saved, xrv.models.DenseNet)
    weights: Mapping[str, Any] = saved.state_dict() if is_network else saved
    if not isinstance(weights, Mapping) or "classifier.weight" not in weights:
        raise UserError(f"{file} holds no DenseNet of torchxrayvision; fix: name another file")
    if "features.conv0.weight" not in weights:
        raise UserError(f"{file} holds no DenseNet of torchxrayvision; fix: name another file")
    count = int(weights["classifier.weight"].shape[0])
    given = list(labels or getattr(saved, "pathologies", None) or xrv.models.DenseNet.targets)
    if len(given) != count:
        raise UserError(
            f"{file} has {count} classes, and {len(given)} have names; fix: write "
            "labels=FIRST;SECOND;... with one for each"
        )
    model = xrv.models.DenseNet(**_shape(weights), num_classes=count)
    model.op_threshs = getattr(saved, "op_threshs", None)
    model.load_state_dict({k: v for k, v in weights.items() if k != "op_threshs"}, strict=False)
    return model, given


def _shape(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes of the network that has these weights."""
    layers: dict[int, int] = {}
    for name in weights:
        found = _LAYER.match(name)
        if found is not None:
            block, layer = int(found[1]), int(found[2])
            layers[block] = max(layer, layers.get(block, 0))
    first = "features.denseblock1.denselayer1."
    growth = int(weights[f"{first}conv2.weight"].shape[0])
    return {
        "growth_rate": growth,
        "block_config": tuple(layers[block] for block in sorted(layers)),
        "num_init_features": int(weights["features.conv0.weight"].shape[0]),
        "bn_size": int(weights[f"{first}conv1.weight"].shape[0]) // growth,
    }


def _safe(xrv: Any) -> list[Any]:
    """The classes of which a saved network is made; a file that names any other is refused."""
    from torch import nn

    parts = ("_DenseBlock", "_DenseLayer", "_Transition")
    own = [getattr(xrv.models, part) for part in parts]
    torchs = [nn.Sequential, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d]
    return [xrv.models.DenseNet, *own, *torchs, nn.Linear, set]
