"""Classifiers of transformers: with classes of their own (ViT, ConvNeXt), or by text (CLIP)."""

from collections.abc import Sequence
from typing import Any

from PIL import Image

from medgym.errors import UserError

from ..models.batches import batches
from ..models.checkpoint import architectures, checkpoint, require_kind, require_names
from ..models.numbers import require_numbers
from ..models.shared import ModelPlace, Shared, loaded

CLOSED, BY_TEXT = "AutoModelForImageClassification", "AutoModelForZeroShotImageClassification"

PROMPT = "This is a photo of {}."
"""What a model that is asked by text reads of a label: transformers' own default."""


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

    def __init__(self, model: str, labels: Sequence[str], prompt: str, place: ModelPlace) -> None:
        self._place = place
        self._prompt = prompt or PROMPT
        found = checkpoint("classify", model)
        # Of some architectures both are saved: a CLIP as it is, and one with a head of classes.
        groups = {CLOSED: architectures(CLOSED), BY_TEXT: architectures(BY_TEXT)}
        self.name = found.name
        self._folder = found.folder
        self._kind = found.kind
        self._is_multi_label = found.is_multi_label
        self.by_text = require_kind(found, "classify", groups) == BY_TEXT
        self.classes = () if self.by_text else require_names("classify", found, labels)
        if prompt and not self.by_text:
            raise UserError(f"{found.name} is not asked by text; fix: remove prompt")
        if "{}" not in self._prompt:
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
                    require_numbers(self.name, row)
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
