"""Models by name: a folder, a built-in model, a name on the hub; and how their weights are loaded.

Every model of medgym is loaded here, so that all are checked and recorded alike. Nothing heavy is
imported before a model is really loaded.
"""

import os
import re
import ssl
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from medgym.errors import RunError, UserError, missing_library
from medgym.failures import reason_of
from medgym.gpu_memory import ELSEWHERE, gpu_memory_error
from medgym.model_loading import (
    attention_keywords,
    check_attention,
    check_options,
    check_trust,
    device_of,
    hub_keywords,
    weight_keywords,
)
from medgym.model_options import DEFAULTS, ModelOptions
from medgym.registry import load, names
from medgym.storage.adapters import check_fit, check_shapes, checked, name_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

REACH = 3.0
"""Seconds in which the hub has to answer at all. Without this test the libraries try to connect for
ten minutes."""

HUB = "https://huggingface.co"
"""The hub, where `HF_ENDPOINT` names no other."""

OTHER_MODEL = "fix: choose a model of one of the families in docs/serving.md"

SMALLER = (
    f"{ELSEWHERE}, or load less: dtype = bfloat16, quantization = 4bit or device = cpu, in [model] "
    "of a recipe or as hf:PATH?dtype=bfloat16"
)
"""What can be done where a model does not fit on a GPU."""

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class FoundModel(NamedTuple):
    """Where a model is.

    Attributes:
        path: its folder, or its name on the hub.
        offline: why the hub cannot be asked, so that it is taken from the local cache as it is; ""
            where the model is a folder, or the hub answers.
    """

    path: str
    offline: str = ""


class LoadedModel(NamedTuple):
    """A model with its processor, and the version of its adapter, which is empty without one."""

    model: "PreTrainedModel"
    processor: "ProcessorMixin"
    version: str


def find_model(name: str, adapter: str | None = None) -> FoundModel:
    """Where the model of a name is: the built-in model, the folder, or else the hub.

    A built-in model is registered in the entry-point group `medgym.models`: a function without
    required arguments that returns the model's folder. It is built on first use and cached. Where
    there is a folder of the same name, that is written `./NAME`, and the name itself is refused.

    Args:
        name: of the model.
        adapter: what its spec names as the adapter, for the error.

    Raises:
        UserError: the name looks like a path, and no folder is there; it is a built-in model's and
            a folder's; or the hub cannot be asked, and its cache lacks the model.
    """
    if name in names("models"):
        if Path(name).is_dir():
            raise UserError(
                f"{name} is a built-in model, and a folder of that name is here; fix: write "
                f"./{name} for the folder, or rename it to use the built-in model"
            )
        folder: Path = load("models", name)()
        return FoundModel(str(folder))
    path = str(Path(name).expanduser()) if name.startswith("~") else name
    if name and Path(path).is_dir():
        return FoundModel(path)
    if _is_path(path):
        other = ", or write ?adapter= where the @ belongs to it" if adapter else ""
        raise UserError(f"no such model folder: {name}; fix: check the path{other}")
    offline = _why_offline(path)
    if offline and not _is_cached(path):
        raise _cannot_load(path, offline)
    return FoundModel(path, offline)


def _is_path(name: str) -> bool:
    """Whether a name that is no folder can only have been meant as one."""
    return (
        not _HUB_NAME.fullmatch(name)
        or name.startswith(".")
        or Path(name).exists()
        or ("/" in name and Path(name).parent.is_dir())
    )


def _is_cached(name: str) -> bool:
    """Whether the hub's cache has something of a model."""
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    return (Path(HF_HUB_CACHE) / f"models--{name.replace('/', '--')}").is_dir()


def _why_offline(name: str) -> str:
    """Why the hub is not asked; "" where it answers, whatever it answers."""
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE"):
            return f"it is no folder and not in the cache of the hub, and {variable} is set"
    hub = (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
    answers: list[str] = []

    def ask() -> None:
        try:
            request = Request(f"{hub}/api/models/{quote(name)}", method="HEAD")
            urlopen(request, timeout=2 * REACH).close()
        except HTTPError as error:  # below 500 an answer, such as that the model is not there
            answers.append("" if error.code < 500 else f"it answers {error.code}")
        except URLError as error:
            # Certificates are the business of the library that downloads: it brings its own.
            is_certificate = isinstance(error.reason, ssl.SSLCertVerificationError)
            answers.append("" if is_certificate else str(error.reason))
        except Exception as error:
            answers.append(reason_of(error))
        else:
            answers.append("")

    # In a thread, since looking up a host's name has no timeout of its own.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(REACH)
    reason = answers[0] if answers else f"no answer within {REACH:g} s"
    return reason and f"it is no folder, and the hub {hub} cannot be reached: {reason}"


def load_processor(name: str, options: ModelOptions = DEFAULTS) -> "ProcessorMixin":
    """The processor of a model, without the model itself.

    Raises:
        UserError: there is no such model, or it has no processor.
    """
    found = find_model(name)
    try:
        return _processor(found, options)
    except UserError:
        raise
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    except Exception as error:  # not found, damaged, ...
        check_trust(name, error)
        raise UserError(
            f"cannot load the processor of {name!r} ({_reason(found, error)}); fix: name a folder "
            "or a hub model with a processor"
        ) from error


def stop_tokens(name: str) -> frozenset[int]:
    """The tokens that end a reply according to a checkpoint's `generation_config.json`, if any."""
    from transformers import GenerationConfig

    found = find_model(name)
    try:
        config = GenerationConfig.from_pretrained(found.path, local_files_only=bool(found.offline))
    except OSError:  # it has none
        return frozenset()
    return as_stops(config.eos_token_id)


def as_stops(eos_token_id: "int | Sequence[int] | None") -> frozenset[int]:
    """One token, several or none, as configurations name those that end a reply."""
    if isinstance(eos_token_id, int):
        return frozenset([eos_token_id])
    return frozenset(eos_token_id or ())


def load_model(
    name: str,
    adapter: str | None = None,
    options: ModelOptions = DEFAULTS,
    *,
    check: "Callable[[ProcessorMixin], object] | None" = None,
    weights: bool = True,
    found: FoundModel | None = None,
) -> LoadedModel:
    """Load a model in eval mode: by default in float32 on a CPU, as stored on a GPU.

    Args:
        name: see `find_model`.
        adapter: a PEFT adapter's folder, trained over this model.
        options: how it is loaded.
        check: called with the processor before the weights are loaded.
        weights: False makes the model from its config, with shapes and without weights: what shows
            then shows at once.
        found: what `find_model` found of this name, so that the hub is not asked again.

    Raises:
        UserError: there is no such model, it cannot be loaded, or the adapter does not fit.
        GpuMemoryError: the GPU has no memory for it.
    """
    found = found or find_model(name, adapter)
    check_options(name, options, is_folder=Path(found.path).is_dir())
    folder = Path(adapter).expanduser() if adapter is not None else None
    version = name_of(folder) if folder is not None else ""
    try:
        model, processor = _loaded(found, folder, options, check, weights)
    except (UserError, RunError):
        raise
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    except Exception as error:  # damaged weights, unknown classes, ...
        no_memory = gpu_memory_error(error, SMALLER)
        if no_memory is not None:
            raise no_memory from error
        check_trust(name, error)
        check_attention(name, options, error)
        raise _cannot_load(name, _reason(found, error)) from error
    if folder is not None:
        model = add_adapter(model, folder, "default")
    return LoadedModel(model, processor, version)


def _cannot_load(name: str, reason: str) -> UserError:
    return UserError(
        f"cannot load the model {name!r} ({reason}); fix: name a folder or a hub model with "
        f"weights and a processor, or a built-in model ({', '.join(names('models'))})"
    )


def _reason(found: FoundModel, error: Exception) -> str:
    return (found.offline or (str(error).splitlines() or [type(error).__name__])[0])[:160]


def _processor(found: FoundModel, options: ModelOptions) -> "ProcessorMixin":
    from transformers import AutoProcessor

    try:
        processor: ProcessorMixin = AutoProcessor.from_pretrained(
            found.path, **hub_keywords(bool(found.offline), options)
        )
    except ImportError:  # it needs another library, which is of no use where it is refused anyway
        check_counts_images(_processor_class(found, options))
        raise
    return processor


def _processor_class(found: FoundModel, options: ModelOptions) -> type:
    """The class of a model's processor, which is not loaded."""
    import transformers
    from transformers import AutoConfig
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    config = AutoConfig.from_pretrained(found.path, **hub_keywords(bool(found.offline), options))
    name = PROCESSOR_MAPPING_NAMES.get(config.model_type, "ProcessorMixin")
    kind: type = getattr(transformers, name)
    return kind


def check_counts_images(processor: type) -> None:
    """Refuse a class of processors that cannot say how many placeholders an image takes.

    Raises:
        UserError: names it.
    """
    if not hasattr(processor, "_get_num_multimodal_tokens"):
        raise UserError(
            f"{processor.__name__} does not say how many placeholders an image takes, so an image "
            f"that was lost or cut would not be noticed; {OTHER_MODEL}"
        )


def _loaded(
    found: FoundModel,
    adapter: Path | None,
    options: ModelOptions,
    check: "Callable[[ProcessorMixin], object] | None",
    weights: bool,
) -> "tuple[PreTrainedModel, ProcessorMixin]":
    import torch
    import transformers
    from transformers import AutoConfig, AutoModelForImageTextToText

    # The newest transformers warns of a name that the oldest one supported still needs.
    warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
    transformers.logging.disable_progress_bar()  # medgym shows its own
    hub = hub_keywords(bool(found.offline), options)
    processor = _processor(found, options)
    if check is not None:
        check(processor)
    if adapter is not None and Path(found.path).is_dir():
        check_fit(adapter, Path(found.path))
    model: PreTrainedModel
    if not weights:
        with torch.device("meta"):
            config = AutoConfig.from_pretrained(found.path, **hub)
            model = AutoModelForImageTextToText.from_config(
                config,
                trust_remote_code=options.trust_remote_code,
                **attention_keywords(options),
            )
        return model.eval(), processor
    device = device_of(options)
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        # Of several processes, each has a GPU of its own.
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    model = AutoModelForImageTextToText.from_pretrained(
        found.path, **hub, **weight_keywords(options, device)
    )
    if not options.quantization:  # quantized weights are where they were made
        model.to(device)  # type: ignore[arg-type]
    return model.eval(), processor


def add_adapter(model: "PreTrainedModel", folder: Path, name: str) -> "PreTrainedModel":
    """The model with an adapter added; the same model where it has adapters already.

    Raises:
        UserError: no adapter there, or it does not fit; the model is then as it was.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from peft.utils import load_peft_weights

    # PEFT asks for what the newest transformers calls by another name.
    warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
    checked(folder)
    weights = {n.replace(".base_layer.", "."): tuple(p.shape) for n, p in model.named_parameters()}
    check_shapes(folder, weights, "the model")
    has_others = isinstance(model, PeftModel)
    peft: Any = model
    adapted: Any = None
    try:
        if has_others:
            adapted = peft
            peft.load_adapter(str(folder), adapter_name=name)
        else:
            adapted = PeftModel.from_pretrained(model, str(folder), adapter_name=name)
        # PEFT only warns of weights that it did not find, and says nothing of those left over.
        held = get_peft_model_state_dict(adapted, adapter_name=name)
        odd = held.keys() ^ load_peft_weights(str(folder)).keys()
        if odd:
            raise ValueError(f"{len(odd)} weights without a counterpart, such as {min(odd)}")
    except Exception as error:
        if not has_others and adapted is not None:
            adapted.unload()
        elif has_others and name in peft.peft_config:
            peft.delete_adapter(name)
        raise UserError(
            f"the adapter {folder} does not fit the model ({reason_of(error)[:120]}); "
            "fix: name the adapter's own base"
        ) from error
    whole: PreTrainedModel = adapted.eval()
    return whole
