"""Detectors of transformers: with classes of their own (DETR, YOLOS), or by text (OWL-ViT).

Pictures are prepared one by one, and those that come out in the same shape are one batch: padded to
one shape, a picture's result would depend on those beside it.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from medgym.errors import UserError

from ..models.batches import batches
from ..models.checkpoint import Checkpoint, architectures, checkpoint, require_kind, require_names
from ..models.numbers import require_numbers
from ..models.shared import ModelPlace, Shared, loaded

CLOSED, BY_TEXT = "AutoModelForObjectDetection", "AutoModelForZeroShotObjectDetection"


@dataclass(frozen=True)
class Detected:
    """A box of a picture, in its pixels."""

    label: str
    score: float
    box: tuple[float, float, float, float]


class TransformersDetector:
    """A detector whose weights are a folder.

    Attributes:
        name: of the model. classes: those that it knows; empty where it is asked by text.

    Args:
        labels: names for the classes in place of the model's own; of a model that is asked by
            text, what it is asked for where a call says nothing.

    Raises:
        UserError: there is no such model, or it does not detect.
    """

    def __init__(self, model: str, labels: Sequence[str], place: ModelPlace) -> None:
        self._place = place
        found: Checkpoint = checkpoint("detect", model)
        groups = {
            CLOSED: architectures(CLOSED),
            BY_TEXT: architectures(BY_TEXT),
        }
        self.name = found.name
        self._folder = found.folder
        self.by_text = require_kind(found, "detect", groups) == BY_TEXT
        self.classes = () if self.by_text else require_names("detect", found, labels)

    def find(
        self, pictures: Sequence[Image.Image], labels: Sequence[tuple[str, ...]]
    ) -> list[list[Detected]]:
        """All that it finds in each picture, of any score.

        Args:
            labels: what is looked for in each picture; only a model that is asked by text reads it.
        """
        import torch
        import transformers

        kind = getattr(transformers, BY_TEXT if self.by_text else CLOSED)
        processor = transformers.AutoProcessor if self.by_text else transformers.AutoImageProcessor
        held = loaded(kind, processor, self._folder, self._place)
        found: list[list[Detected]] = [[] for _ in pictures]
        with held.lock, torch.inference_mode():
            inputs = [self._inputs(held, *each) for each in zip(pictures, labels, strict=True)]
            keys = labels if self.by_text else [()] * len(pictures)
            for places, batch in batches(inputs, keys, held):
                sizes = [pictures[place].size[::-1] for place in places]
                outputs = held.model(**batch)
                results = self._read(held, outputs, batch, sizes, labels[places[0]])
                for place, result in zip(places, results, strict=True):
                    found[place] = self._named(result, labels[place])
        return found

    def _inputs(self, held: Shared, picture: Image.Image, labels: tuple[str, ...]) -> Any:
        if not self.by_text:
            return held.processor(images=picture, return_tensors="pt")
        # A label may have more tokens than the model reads.
        return held.processor(
            text=[list(labels)], images=picture, truncation=True, return_tensors="pt"
        )

    def _read(
        self, held: Shared, outputs: Any, batch: Any, sizes: Any, labels: tuple[str, ...]
    ) -> Any:
        if not self.by_text:
            return held.processor.post_process_object_detection(
                outputs, threshold=0.0, target_sizes=sizes
            )
        read = held.processor.post_process_grounded_object_detection
        takes = inspect.signature(read).parameters
        extra: dict[str, Any] = {"text_labels": [list(labels)] * len(sizes)}
        if "input_ids" in takes:  # it finds which words of the text a box is of
            extra = {"input_ids": batch["input_ids"], "text_threshold": 0.0}
        return read(outputs, threshold=0.0, target_sizes=sizes, **extra)

    def _named(self, result: Any, labels: tuple[str, ...]) -> list[Detected]:
        """The boxes of one picture, surest first."""
        names: list[str]
        if self.by_text:
            said = result.get("text_labels") or [labels[int(n)] for n in result["labels"]]
            names = [str(name) for name in said]
        else:
            numbers = [int(number) for number in result["labels"]]
            if max(numbers, default=0) >= len(self.classes):
                raise UserError(
                    f"{self.name} finds a class {max(numbers)}, and its config names only "
                    f"{len(self.classes)}; fix: name another model"
                )
            names = [self.classes[number] for number in numbers]
        require_numbers(self.name, map(float, result["scores"]))
        scores = [float(score) for score in result["scores"]]
        boxes = [tuple(float(edge) for edge in box) for box in result["boxes"]]
        return [
            Detected(name, score, (box[0], box[1], box[2], box[3]))
            for name, score, box in zip(names, scores, boxes, strict=True)
        ]
