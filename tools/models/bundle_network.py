"""The network of a MONAI bundle with its preprocessing, loaded once for each process."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.errors import UserError
from medgym.model_loading import device_of

from .bundle import Bundle, is_file_transform, require_own
from .numbers import require_numbers
from .shared import BATCH, ModelPlace, Shared, shared

Image = tuple[NDArray[np.float32], NDArray[np.float64]]
"""An image or a volume, channels first and x before y, and its affine map to the patient (RAS)."""


class Network:
    """A network, what is done to images before it, and how it goes over large ones."""

    def __init__(self, found: Bundle, held: Shared) -> None:
        self._bundle = found
        self._held = held

    def scores(self, images: Sequence[Image]) -> list[NDArray[np.float32]]:
        """For each image the score of each class and pixel, as large as the image was."""
        import torch

        scored: list[NDArray[np.float32] | None] = [None] * len(images)
        with self._held.lock, torch.inference_mode():
            made = [self._prepared(*image) for image in images]
            groups: dict[tuple[int, ...], list[int]] = {}
            for place, each in enumerate(made):
                groups.setdefault(tuple(each.shape), []).append(place)
            for group in groups.values():
                for start in range(0, len(group), BATCH):
                    places = group[start : start + BATCH]
                    rows = self._rows([made[place] for place in places])
                    for place, row in zip(places, rows, strict=True):
                        scored[place] = self._restored(row, made[place], images[place][0])
        return [each for each in scored if each is not None]

    def _prepared(self, values: NDArray[np.float32], affine: NDArray[np.float64]) -> Any:
        import torch
        from monai.data.meta_tensor import MetaTensor

        three = np.eye(4)
        count = len(affine) - 1
        three[:count, :count], three[:count, 3] = affine[:count, :count], affine[:count, -1]
        image = MetaTensor(torch.from_numpy(values), affine=torch.from_numpy(three))
        before = self._held.processor["preprocessing"]
        return image if before is None else before({"image": image})["image"]

    def _rows(self, images: Sequence[Any]) -> Any:
        import torch

        dtype = next(self._held.model.parameters()).dtype
        batch = torch.stack([each.as_tensor() for each in images]).to(self._held.device, dtype)
        outputs = self._held.processor["inferer"](batch, self._held.model)
        if isinstance(outputs, list | tuple):  # deep supervision: the first is the finest
            outputs = outputs[0]
        if isinstance(outputs, dict):
            outputs = next(iter(outputs.values()))
        outputs = outputs.float()
        if outputs.shape[1] != len(self._bundle.classes):
            raise UserError(
                f"{self._bundle.name} gives {outputs.shape[1]} classes, and its metadata names "
                f"{len(self._bundle.classes)}; fix: write labels=FIRST;SECOND;..."
            )
        rows = outputs.sigmoid() if self._bundle.is_multi_label else outputs.softmax(dim=1)
        require_numbers(self._bundle.name, [float(rows.sum())])
        return rows.cpu()

    def _restored(self, row: Any, image: Any, original: NDArray[np.float32]) -> Any:
        """Scores at the size and in the orientation of the original."""
        from monai.data.meta_tensor import MetaTensor

        before = self._held.processor["preprocessing"]
        if before is not None and image.applied_operations:
            scores = MetaTensor(
                getattr(row, "as_tensor", lambda: row)(),
                affine=image.affine,
                applied_operations=image.applied_operations,
            )
            row = before.inverse({"image": scores})["image"]
        values = np.asarray(getattr(row, "as_tensor", lambda: row)(), dtype=np.float32)
        if values.shape[1:] != original.shape[1:]:
            raise UserError(
                f"the preprocessing of {self._bundle.name} cannot be undone: {values.shape[1:]} is "
                f"not {original.shape[1:]}; fix: name another bundle"
            )
        return values


def loaded_bundle(found: Bundle, place: ModelPlace, trusted: bool) -> Network:
    """The network of a bundle.

    Raises:
        UserError: MONAI is not installed, or the bundle is broken.
    """
    held = shared(("bundle", found.folder, place, trusted), lambda: _load(found, place, trusted))
    return Network(found, held)


def _load(found: Bundle, place: ModelPlace, trusted: bool) -> Shared:
    import torch
    from monai.bundle import ConfigParser
    from monai.inferers import SimpleInferer
    from monai.transforms import Compose

    if not trusted:
        require_own(found)
    device = device_of(place.options)
    parser = ConfigParser(dict(found.config))
    parser["bundle_root"] = found.folder
    parser["device"] = device
    before = found.config.get("preprocessing")
    transforms = before.get("transforms") if isinstance(before, dict) else before
    if isinstance(transforms, list):
        parser["preprocessing"] = [each for each in transforms if not is_file_transform(each)]
        transforms = Compose(parser.get_parsed_content("preprocessing"))
    elif transforms is not None:
        raise UserError(
            f"the preprocessing of {found.folder} is no list of transforms; fix: write one"
        )
    model = parser.get_parsed_content("network_def")
    saved = torch.load(found.weights, map_location="cpu", weights_only=True)
    for inner in ("model", "state_dict", "network"):
        if isinstance(saved, dict) and isinstance(saved.get(inner), dict):
            saved = saved[inner]
    model.load_state_dict(saved)
    dtype = {} if place.dtype == "auto" else {"dtype": getattr(torch, place.dtype)}
    inferer = parser.get_parsed_content("inferer") if "inferer" in found.config else SimpleInferer()
    parts = {"preprocessing": transforms, "inferer": inferer}
    return Shared(model.to(device, **dtype).eval(), parts, device)
