"""`transformers`: a model that names what each pixel is, or that is asked by text.

Semantic (SegFormer, UPerNet, BEiT) and universal models (Mask2Former, OneFormer, EoMT) have classes
of their own, of which the text of a call chooses one. A referring model (CLIPSeg) reads the text
itself. A box keeps what lies within it.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from medgym.errors import ToolError, UserError
from medgym.tool import Fidelity

from ...models.asked import picture_size
from ...models.batches import batches
from ...models.checkpoint import architectures, checkpoint, named, require_kind, require_names
from ...models.masks import class_of, mask_size, resized, whole_box, within
from ...models.numbers import require_numbers
from ...models.shared import ModelPlace, Shared, loaded
from ..backend import PromptKind, Segmentation, Segmenter, SegmentRequest

SEMANTIC, UNIVERSAL = "AutoModelForSemanticSegmentation", "AutoModelForUniversalSegmentation"
REFERRING = "CLIPSegForImageSegmentation"


class TransformersSegmenter(Segmenter):
    """See the module.

    Args:
        model: a folder, or a name in the hub's cache.
        labels: `liver;spleen`: names for the model's classes in place of its own, in their order.
        threshold: of a model that is asked by text: the least score of a pixel of the structure.
        device: `auto`, `cpu`, `cuda` or `cuda:N`. dtype: as `[model] dtype` of a recipe.

    Raises:
        UserError: there is no such model, or it does not segment.
    """

    takes: ClassVar[tuple[PromptKind, ...]] = ("box", "text")
    fidelity: ClassVar[Fidelity] = "predicted"

    def __init__(
        self,
        model: str = "",
        labels: str = "",
        threshold: float = 0.5,
        device: str = "auto",
        dtype: str = "auto",
    ) -> None:
        self._place = ModelPlace(device, dtype)
        if not 0 < threshold < 1:
            raise UserError(f"segment: threshold={threshold:g} is no score; fix: give 0 to 1")
        self._threshold = threshold
        found = checkpoint("segment?backend=transformers", model)
        groups = {
            SEMANTIC: architectures(SEMANTIC),
            UNIVERSAL: architectures(UNIVERSAL),
            REFERRING: ("clipseg",),
        }
        self._kind = require_kind(found, "segment by text", groups)
        self._name = found.name
        self._folder = found.folder
        self._has_tasks = found.kind == "oneformer"
        by_text = self._kind == REFERRING
        self._classes = () if by_text else require_names("segment", found, named(labels))
        self._place.declare(self)

    def segment(
        self, requests: Sequence[SegmentRequest]
    ) -> Sequence[Segmentation | ToolError | None]:
        """See `Segmenter.segment`."""
        import torch
        import transformers

        own_processor = self._kind == REFERRING or self._has_tasks
        processor = transformers.AutoProcessor if own_processor else transformers.AutoImageProcessor
        held = loaded(getattr(transformers, self._kind), processor, self._folder, self._place)
        found: list[Segmentation | ToolError | None] = [None] * len(requests)
        wanted: dict[int, int] = {}
        for place, request in enumerate(requests):
            try:
                wanted[place] = self._wanted(request.prompt.text)
            except ToolError as error:
                found[place] = error
        asked = list(wanted)
        with held.lock, torch.inference_mode():
            inputs = [self._inputs(held, requests[place]) for place in asked]
            for rows, batch in batches(inputs, [()] * len(inputs), held):
                scores = self._scores(held, batch)
                for row, number in enumerate(rows):
                    place = asked[number]
                    found[place] = self._found(requests[place], scores[row], wanted[place])
        return found

    def _wanted(self, text: str | None) -> int:
        """The number of the class that is asked for; 0 of a model that reads the text itself."""
        if self._kind != REFERRING:
            return class_of(text, self._classes)
        if text is None:
            raise ToolError("segment: expected text: what the structure is called", "name")
        return 0

    def _inputs(self, held: Shared, request: SegmentRequest) -> Any:
        region = whole_box(request.view_px)
        picture = Image.fromarray(request.picture(region, picture_size(region)))
        extra: dict[str, Any] = {}
        if self._kind == REFERRING:
            extra = {"text": [request.prompt.text], "padding": "max_length", "truncation": True}
        elif self._has_tasks:
            extra = {"task_inputs": ["semantic"]}
        return held.processor(images=[picture], return_tensors="pt", **extra)

    def _scores(self, held: Shared, batch: dict[str, Any]) -> Any:
        """(rows, classes, height, width): of each pixel, adding up to 1 over the classes."""
        outputs: Any = held.model(**batch)
        if self._kind == REFERRING:
            side = batch["pixel_values"].shape[-2:]
            logits = outputs.logits
            return logits.reshape(-1, 1, *(logits.shape[-2:] or side)).float().sigmoid()
        if self._kind == SEMANTIC:
            return outputs.logits.float().softmax(dim=1)
        if hasattr(outputs, "class_queries_logits"):
            queries, masks = outputs.class_queries_logits, outputs.masks_queries_logits
        else:
            queries, masks = outputs.logits, outputs.pred_masks
        kinds = queries.float().softmax(dim=-1)[..., :-1]  # the last one is "no object"
        each = kinds.transpose(1, 2) @ masks.float().sigmoid().flatten(2)
        each = each.reshape(*each.shape[:2], *masks.shape[-2:])
        return each / each.sum(dim=1, keepdim=True).clamp_min(1e-12)

    def _found(self, request: SegmentRequest, scores: Any, wanted: int) -> Segmentation | None:
        region = whole_box(request.view_px)
        sized = resized(scores[None], mask_size(region))[0]
        if self._kind != REFERRING and len(sized) != len(self._classes):
            raise UserError(
                f"{self._name} has {len(sized)} classes, and {len(self._classes)} have names; fix: "
                "name another model"
            )
        mine = sized[wanted].cpu().numpy()
        require_numbers(self._name, [float(mine.sum())])
        if self._kind == REFERRING:
            mask = mine >= self._threshold
        else:
            mask = np.asarray((sized.argmax(dim=0) == wanted).cpu(), dtype=np.bool_)
        mask = within(mask, region, request.prompt.box_px)
        if not mask.any():
            return None
        return Segmentation(region, mask, float(mine[mask].mean()))


BACKEND = TransformersSegmenter
