"""`[model]` of a recipe: the base, which of its parts learn, and how it is loaded."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from medgym.errors import UserError
from medgym.model_options import Dtype, ModelOptions, Quantization

ModelPart = Literal["language", "vision", "projector"]
"""The parts of a vision-language model that may learn; `projector` is between the other two."""


class ModelTable(BaseModel):
    """`[model]`: the base. `build = "tiny"` makes the built-in one, `path` names any other.

    `adapt` says which of its parts learn, with or without `[lora]`. `gpu` says that it is too large
    for anything else: where there is none the recipe is refused, instead of running for weeks. The
    other keys are those of `ModelOptions`, which say how it is loaded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    build: Literal["tiny", "tiny-consult", "tiny-tools", "tiny-volume"] | None = None
    path: str | None = None
    gpu: bool = False
    adapt: tuple[ModelPart, ...] = Field(default=("language",), min_length=1)
    # None where nothing is said, so that a run of a version without these keys can be resumed.
    dtype: Dtype | None = None
    attn_implementation: str | None = None
    quantization: Quantization | None = None
    revision: str | None = None
    device: Literal["cpu", "cuda"] | None = None
    trust_remote_code: bool | None = None

    @property
    def options(self) -> ModelOptions:
        """How the base is loaded; what the run makes of it is loaded by `options.in_run`."""
        return ModelOptions(
            dtype=self.dtype or "auto",
            attn_implementation=self.attn_implementation or "",
            quantization=self.quantization or "",
            revision=self.revision or "",
            device=self.device or "",
            trust_remote_code=bool(self.trust_remote_code),
        )


def check_learning(model: ModelTable, wholes: Mapping[str, bool], where: str) -> None:
    """Refuse weights that cannot learn in the type in which they are loaded.

    Most steps of an optimiser are smaller than a step of 16 bits and vanish in it, and quantized
    weights take none at all. An adapter over such weights is in float32.

    Args:
        model: the base. wholes: by the table of an adapter, whether the model learns without it.
        where: the recipe's file.

    Raises:
        UserError: the whole model would learn, in 16 bits or quantized.
    """
    for table in (name for name, whole in wholes.items() if whole):
        if model.quantization is not None:
            raise UserError(
                f'{where}: [model] quantization = "{model.quantization}" without [{table}] leaves '
                f"nothing that can learn; fix: add [{table}] or remove quantization"
            )
        if model.dtype in ("bfloat16", "float16"):
            raise UserError(
                f'{where}: [model] dtype = "{model.dtype}" without [{table}] would train weights '
                f"of 16 bits, in which most steps vanish; fix: add [{table}] or remove dtype"
            )
    if model.build is not None and model.revision is not None:
        raise UserError(f"{where}: the built-in model has no revision; fix: remove it")
