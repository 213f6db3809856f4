"""What transformers is given so that a model is loaded by its `ModelOptions`."""

import logging
import os
from importlib.util import find_spec
from typing import Any

from medgym.errors import UserError
from medgym.model_options import ModelOptions

LOG = logging.getLogger("medgym")

UNQUANTIZED = (
    "lm_head", "visual", "vision_tower", "vision_model", "audio_tower",
    "multi_modal_projector", "merger", "deepstack_merger_list", "embed_vision", "embed_audio",
    "connector", "image_newline",
)  # fmt: skip
"""Parts that stay in full precision: what sees, and what makes the scores of the next token. They
are a small share of a model, and errors in them are not made up for by an adapter."""

_TRUSTED: set[str] = set()


def check_options(name: str, options: ModelOptions, *, is_folder: bool) -> None:
    """Look for what options need, before a model is loaded; warn of the code that it brings.

    Raises:
        UserError: a revision of a folder, a device or a library that is not there.
    """
    if options.revision and is_folder:
        raise UserError(
            f"{name} is a folder, which has no revision {options.revision!r}; fix: remove "
            "revision, or name the model on the hub"
        )
    if options.quantization and find_spec("bitsandbytes") is None:
        raise UserError(
            f'quantization = "{options.quantization}" needs the library bitsandbytes, which is '
            "not installed; fix: pip install bitsandbytes, or remove quantization"
        )
    device_of(options)
    if options.trust_remote_code and name not in _TRUSTED:
        _TRUSTED.add(name)
        LOG.warning("trust_remote_code is on: the Python code that comes with %s is run", name)


def check_trust(name: str, error: Exception) -> None:
    """Say which option a model with its own code needs.

    Raises:
        UserError: the error is that such code may not be run.
    """
    if "trust_remote_code" in str(error):
        raise UserError(
            f"the model {name!r} brings Python code of its own, which is run only if you say so; "
            "fix: read that code, then set [model] trust_remote_code = true (in a spec "
            "?trust_remote_code=true)"
        ) from error


def check_attention(name: str, options: ModelOptions, error: Exception) -> None:
    """Say that it is the attention which cannot be had.

    Raises:
        UserError: it is.
    """
    asked, said = options.attn_implementation, " ".join(str(error).split())
    if asked and ("attention" in said.lower() or "attn" in said.lower()):
        raise UserError(
            f"the model {name!r} cannot be loaded with attn_implementation {asked!r} "
            f"({said[:160]}); fix: install what it needs, or another one, such as sdpa"
        ) from error


def device_of(options: ModelOptions) -> str:
    """Where the model goes: `cpu`, `cuda` or `cuda:N`.

    Raises:
        UserError: there is no such GPU.
    """
    if options.device == "cpu":
        return "cpu"
    try:
        import torch
    except ModuleNotFoundError:  # named when the model is loaded
        return options.device or "cpu"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not options.device:
        return "cuda" if count else "cpu"
    if int(options.device.partition(":")[2] or 0) >= count:
        raise UserError(
            f"device={options.device} is not there: this machine shows {count} GPUs; fix: another "
            "device, or remove it"
        )
    return options.device


def hub_keywords(offline: bool, options: ModelOptions) -> dict[str, Any]:
    """What every `from_pretrained` is given."""
    keywords: dict[str, Any] = {
        "local_files_only": offline,
        # Not None, with which transformers would ask in the terminal.
        "trust_remote_code": options.trust_remote_code,
    }
    return keywords | ({"revision": options.revision} if options.revision else {})


def attention_keywords(options: ModelOptions) -> dict[str, Any]:
    """The attention, where one is asked for."""
    asked = options.attn_implementation
    return {"attn_implementation": asked} if asked else {}


def weight_keywords(options: ModelOptions, device: str) -> dict[str, Any]:
    """What the model's own `from_pretrained` is given beside `hub_keywords`."""
    import torch

    on_cpu = device == "cpu"
    dtype: Any = "auto" if options.dtype == "auto" else getattr(torch, options.dtype)
    if options.dtype == "auto" and on_cpu:
        dtype = torch.float32
    keywords = {"dtype": dtype} | attention_keywords(options)
    if not options.quantization:
        return keywords
    from transformers import BitsAndBytesConfig

    computed: Any = torch.float32 if on_cpu else torch.bfloat16
    if options.dtype != "auto":
        computed = dtype
    skipped = [rf"(?:.*\.)?{name}" for name in UNQUANTIZED]
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    return keywords | {
        "device_map": {"": device},
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=options.quantization == "4bit",
            load_in_8bit=options.quantization == "8bit",
            llm_int8_skip_modules=skipped,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=computed,
        ),
    }
