"""Classifiers of transformers: with classes of their own (ViT, ConvNeXt), or by text (CLIP)."""

from collections.abc import Sequence
from typing import Any

from PIL import Image

from medgym.errors import UserError

from ..models.batches import batches
from ..models.checkpoint import checkpoint, require_kind, require_names
from ..models.shared import Place, Shared, loaded

CLOSED, BY_TEXT = "AutoModelForImageClassification", "AutoModelForZeroShotImageClassification"


class TransformersClassifier:
    """A classifier whose weights are a folder.

    Attributes:
        name: of the model. classes: those that it knows; empty where it is asked by text.

    Args:
        labels: names for the classes in place of the model's own; of a model that is asked by
            text, what it chooses from where a call says nothing.
        prompt: what a model that is asked by text reads of a label, which stands for `{}`.

    Raises:
        UserError: there is no such model, or it does not classify.
    """

    def __init__(self, model: str, labels: Sequence[str], prompt: str, place: Place) -> None:
        from transformers.models.auto import modeling_auto as auto

        self._place = place
        self._prompt = prompt
        found = checkpoint("classify", model)
        groups = {
            BY_TEXT: auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES,
            CLOSED: auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        }
        self.name = found.name
        self._folder = found.folder
        self._kind = found.kind
        self._is_multi_label = found.is_multi_label
        saved_closed = any(name.endswith("ForImageClassification") for name in found.architectures)
        is_text = found.kind in groups[BY_TEXT] and not saved_closed
        self.by_text = require_kind(found, "classify", groups) == BY_TEXT or is_text
        self.classes = () if self.by_text else require_names("classify", found, labels)
        if self.by_text and "{}" not in prompt:
            raise UserError(f"classify: prompt={prompt[:80]!r} has no {{}}; fix: write it once")

    def scores(
        self, pictures: Sequence[Image.Image], labels: Sequence[tuple[str, ...]]
    ) -> list[dict[str, float]]:
        """The score of each class, or of each label of a model that is asked by text.

        The scores of one picture add up to 1, unless the model's classes do not exclude each other.
        """
        import torch
        import transformers

        kind = getattr(transformers, BY_TEXT if self.by_text else CLOSED)
        processor = transformers.AutoProcessor if self.by_text else transformers.AutoImageProcessor
        held = loaded(kind, processor, self._folder, self._place)
        scored: list[dict[str, float]] = [{} for _ in pictures]
        with held.lock, torch.inference_mode():
            inputs = [held.processor(images=each, return_tensors="pt") for each in pictures]
            keys = labels if self.by_text else [()] * len(pictures)
            for places, batch in batches(inputs, keys, held):
                names = labels[places[0]] if self.by_text else self.classes
                rows = self._probabilities(held, batch, names).float().cpu().tolist()
                for place, row in zip(places, rows, strict=True):
                    if len(row) != len(names):
                        raise UserError(
                            f"{self.name} has {len(row)} classes, and its config names "
                            f"{len(names)}; fix: name another model"
                        )
                    scored[place] = dict(zip(names, map(float, row), strict=True))
        return scored

    def _probabilities(self, held: Shared, batch: dict[str, Any], names: Sequence[str]) -> Any:
        if not self.by_text:
            logits = held.model(**batch).logits
            return logits.sigmoid() if self._is_multi_label else logits.softmax(dim=-1)
        is_siglip = "siglip" in self._kind
        texts = held.processor(
            text=[self._prompt.replace("{}", name) for name in names],
            # SigLIP's text tower was trained on texts that are padded to its full length.
            padding="max_length" if is_siglip else True,
            truncation=True,
            return_tensors="pt",
        ).to(held.device)
        logits = held.model(**texts, **batch).logits_per_image
        return logits.sigmoid() if is_siglip else logits.softmax(dim=-1)
