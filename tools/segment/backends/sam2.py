"""`sam2`: SAM 2 of transformers (SAM 2.1, MedSAM2 and what has their form), by box or points.

A picture of the region of the view is what the model sees. Through a volume or a clip the structure
is tracked from the addressed image to both ends, until the model has lost it for some images. A
checkpoint that was saved without its memory (`Sam2Model`) follows it slice by slice.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from medgym.errors import ToolError, UserError
from medgym.imaging.study import Box
from medgym.tool import Fidelity

from ...models.asked import picture_size
from ...models.batches import batches
from ...models.checkpoint import checkpoint
from ...models.masks import mask_size, whole_box
from ...models.numbers import require_numbers
from ...models.shared import ModelPlace, Shared, loaded
from ..backend import (
    Point,
    PromptKind,
    Segmentation,
    SegmentationThrough,
    Segmenter,
    SegmentRequest,
)

KINDS = ("sam2", "sam2_video")

LOST = 3
"""Images without the structure after which it is no longer tracked."""

ON_LINE = 8
"""Points that stand for a scribble."""

RECENT = 32
"""Images whose results are kept while one is tracked: SAM 2 looks back 16 at most."""


class Sam2(Segmenter):
    """See the module.

    Args:
        model: a folder, or a name in the hub's cache.
        device: `auto`, `cpu`, `cuda` or `cuda:N`. dtype: as `[model] dtype` of a recipe.

    Raises:
        UserError: there is no such model, or it is no SAM 2.
    """

    takes: ClassVar[tuple[PromptKind, ...]] = ("box", "points", "scribble")
    fidelity: ClassVar[Fidelity] = "predicted"

    def __init__(self, model: str = "", device: str = "auto", dtype: str = "auto") -> None:
        self._place = ModelPlace(device, dtype)
        found = checkpoint("segment?backend=sam2", model)
        if found.kind not in KINDS:
            raise UserError(
                f"{found.name} is a model of the type {found.kind!r}, and no SAM 2; fix: name one "
                f"of the type {' or '.join(KINDS)}"
            )
        self._name = found.name
        self._folder = found.folder
        self._has_memory = found.kind == "sam2_video"
        self._place.declare(self)

    def segment(
        self, requests: Sequence[SegmentRequest]
    ) -> Sequence[Segmentation | ToolError | None]:
        """See `Segmenter.segment`."""
        import torch
        from transformers import Sam2Model, Sam2Processor

        held = loaded(Sam2Model, Sam2Processor, self._folder, self._place)
        found: list[Segmentation | ToolError | None] = [None] * len(requests)
        with held.lock, torch.inference_mode():
            inputs = [_inputs(held, request) for request in requests]
            for places, batch in batches(inputs, [()] * len(inputs), held):
                batch.pop("original_sizes")
                # One point may mean a part or the whole: the surest of several masks is taken.
                several = "input_boxes" not in batch and batch["input_points"].shape[2] == 1
                outputs = held.model(**batch, multimask_output=several)
                for row, place in enumerate(places):
                    region = whole_box(requests[place].view_px)
                    scores = outputs.iou_scores[row, 0].float().cpu()
                    require_numbers(self._name, scores.tolist())
                    best = int(scores.argmax())
                    logits = outputs.pred_masks[row, 0, best]
                    found[place] = _found(held, logits, region, float(scores[best]))
        return found

    def through(
        self, requests: Sequence[SegmentRequest]
    ) -> Sequence[SegmentationThrough | ToolError | None]:
        """See `Segmenter.through`."""
        if not self._has_memory:
            return super().through(requests)
        return [self._tracked(request) for request in requests]

    def _tracked(self, request: SegmentRequest) -> SegmentationThrough | None:
        import torch
        from transformers import Sam2VideoModel, Sam2VideoProcessor

        held = loaded(Sam2VideoModel, Sam2VideoProcessor, self._folder, self._place)
        start, count = request.place.index, request.image.planes[request.place.plane].count
        images: dict[int, Segmentation] = {}
        with held.lock, torch.inference_mode():
            for indices in (range(start, count), range(start, -1, -1)):
                for index, found in _track(held, request, indices, self._name):
                    if found is not None:
                        images.setdefault(index, found)
        if not images:
            return None
        sure = float(np.mean([each.score for each in images.values()]))
        return SegmentationThrough(dict(sorted(images.items())), sure)


BACKEND = Sam2


def _inputs(held: Shared, request: SegmentRequest) -> Any:
    region = whole_box(request.view_px)
    size = picture_size(region)
    picture = Image.fromarray(request.picture(region, size))
    return held.processor(images=picture, return_tensors="pt", **_prompt(request, region, size))


def _prompt(request: SegmentRequest, region: Box, size: tuple[int, int]) -> dict[str, Any]:
    """Box and points in the pixels of the picture, as the processor takes them."""
    across, down = size[0] / (region[2] - region[0]), size[1] / (region[3] - region[1])
    prompt = request.prompt
    scribble = _on_line(prompt.scribble_px)
    points = [*prompt.points_px, *scribble]
    labels = [*map(int, prompt.labels), *(1 for _ in scribble)]
    given: dict[str, Any] = {}
    if points:
        moved = [[(x - region[0]) * across, (y - region[1]) * down] for x, y in points]
        given |= {"input_points": [[moved]], "input_labels": [[labels]]}
    if prompt.box_px is not None:
        x0, y0, x1, y1 = prompt.box_px
        corners = [(x0 - region[0]) * across, (y0 - region[1]) * down]
        corners += [(x1 - region[0]) * across, (y1 - region[1]) * down]
        given["input_boxes"] = [[corners]]
    return given


def _on_line(corners: Sequence[Point]) -> list[Point]:
    """Points at equal distances on a line."""
    if len(corners) < 2:
        return list(corners)
    line = np.asarray(corners, dtype=np.float64)
    steps = np.hypot(*np.diff(line, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    places = np.linspace(0.0, along[-1], ON_LINE)
    xs, ys = (np.interp(places, along, line[:, axis]) for axis in (0, 1))
    return [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]


def _found(held: Shared, logits: Any, region: Box, score: float) -> Segmentation | None:
    """The mask over a region, from the model's logits at its own size."""
    width, height = mask_size(region)
    (mask,) = held.processor.post_process_masks([logits[None, None].float()], [[height, width]])
    pixels = np.asarray(mask[0, 0].cpu(), dtype=np.bool_)
    if not pixels.any():
        return None
    return Segmentation(region, pixels, min(max(score, 0.0), 1.0))


def _track(
    held: Shared, request: SegmentRequest, indices: Sequence[int], name: str
) -> Iterator[tuple[int, Segmentation | None]]:
    """What is found on each image, from the one that has the prompt on."""
    import torch

    region = whole_box(request.view_px)
    size = picture_size(region)
    dtype = next(held.model.parameters()).dtype
    session = held.processor.init_video_session(inference_device=held.device, dtype=dtype)
    held.processor.add_inputs_to_inference_session(
        session, 0, 1, original_size=size[::-1], **_prompt(request, region, size)
    )
    lost = 0
    for step, index in enumerate(indices):
        # The addressed image as the view shows it; the others without its slab.
        each = request if step == 0 else request.at(index)
        picture = Image.fromarray(each.picture(region, size))
        pixels = held.processor(images=picture, return_tensors="pt")["pixel_values"]
        outputs = held.model(session, frame=pixels.to(held.device), frame_idx=step)
        sure = float(torch.sigmoid(outputs.object_score_logits.float()).flatten()[0])
        require_numbers(name, [sure])
        found = _found(held, outputs.pred_masks[0, 0], region, sure) if sure > 0.5 else None
        yield index, found
        lost = 0 if found is not None else lost + 1
        if lost == LOST:
            return
        _forget(session, step)


def _forget(session: Any, step: int) -> None:
    """Drop what tracking no longer looks at, so that a long volume takes no more memory."""
    import torch

    session.processed_frames[step] = torch.empty(0)
    for outputs in session.output_dict_per_obj.values():
        for kept in outputs.values():
            for result in kept.values():
                result.pop("high_res_masks", None)
        outputs["non_cond_frame_outputs"].pop(step - RECENT, None)
