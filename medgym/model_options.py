"""How a model is loaded: `[model]` of a recipe and the options of `hf:PATH?key=value&...`.

Both say the same under the same names, and every place that loads a model is given them: training,
judging, the report, merging and the doctor. A run records them with its recipe.
"""

import re
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self, get_args

from medgym.errors import UserError
from medgym.spec import encode_value, kinds_of, read_options

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Quantization = Literal["4bit", "8bit"]

_DEVICE = re.compile(r"cpu|cuda(:\d+)?")


@dataclass(frozen=True)
class ModelOptions:
    """How a model is loaded.

    Attributes:
        dtype: of its weights. `auto`: as stored on a GPU, float32 on a CPU.
        attn_implementation: transformers' name for the attention, such as `sdpa` or
            `flash_attention_2`; by default transformers' own choice.
        quantization: the language model's linear layers in 4 or 8 bits, by bitsandbytes.
        revision: a branch, tag or commit of a model on the hub.
        device: `cpu`, `cuda` or `cuda:N`; by default a GPU where there is one.
        trust_remote_code: run the Python code that comes with the model.

    Raises:
        UserError: a value that cannot be.
    """

    dtype: Dtype = "auto"
    attn_implementation: str = ""
    quantization: Quantization | Literal[""] = ""
    revision: str = ""
    device: str = ""
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        _check("dtype", self.dtype, get_args(Dtype))
        if self.quantization:
            _check("quantization", self.quantization, get_args(Quantization))
        if self.device and not _DEVICE.fullmatch(self.device):
            raise UserError(f"device={self.device!r} is no device; fix: cpu, cuda or cuda:N")

    @property
    def in_run(self) -> Self:
        """The same for a model in a run's folder: the revision was its base's."""
        return replace(self, revision="")

    @property
    def whole(self) -> Self:
        """The same without quantization, for weights that are saved or merged."""
        return replace(self, quantization="")

    def query(self) -> str:
        """`?key=value&...` as a spec has it; "" where nothing is said."""
        said = [
            f"{each.name}={_text(getattr(self, each.name))}"
            for each in fields(self)
            if getattr(self, each.name) != each.default
        ]
        return "?" + "&".join(said) if said else ""


def read_model(
    what: str, rest: str, adapter: str | None = None
) -> tuple[str, str | None, ModelOptions]:
    """`NAME[?key=value&...]` as `load_model` takes it: name, adapter, options.

    Args:
        what: what has these options, for errors. adapter: passed through.

    Raises:
        UserError: an unknown option (the nearest one is named), or a value that cannot be.
    """
    name, _, query = rest.partition("?")
    given: dict[str, Any] = read_options(what, query, kinds_of(ModelOptions))
    return name, adapter, ModelOptions(**given)


def _check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"{name}={value!r} is not known; fix: one of {', '.join(known)}")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else encode_value(str(value))


DEFAULTS = ModelOptions()
"""Nothing is asked for."""
