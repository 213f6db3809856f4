"""A checkpoint of transformers on this machine: found, and checked by its config, before play.

Nothing is ever downloaded: a model is a folder, or a name whose files are in the hub's cache. What
can be known without the weights is said when a tool is made: no folder, no config, another kind of
model, no weights, no processor, classes without names.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgym.errors import UserError, missing_library

WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "*.pth", "*.pt")
"""Files of which a checkpoint has at least one."""

PROCESSORS = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
"""Files of which one says how a model's images are made."""

_NAMELESS = re.compile(r"(?i)label_\d+")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Checkpoint:
    """A folder with a model, of which only the config was read.

    Attributes:
        folder: its path. name: as the user gave it, for errors and for the policy.
        kind: transformers' name of the architecture, such as `detr`.
        classes: the classes of its head, in their order; empty where it has none.
        architectures: the names of the classes that were saved.
        is_multi_label: whether the classes of an image do not exclude each other.
    """

    folder: str
    name: str
    kind: str
    classes: tuple[str, ...]
    architectures: tuple[str, ...]
    is_multi_label: bool


def checkpoint(what: str, model: str) -> Checkpoint:
    """Find a model and read its config.

    Args:
        what: the spec up to the model, for errors, such as `detect`.
        model: a folder, or a name on the hub whose files are in its cache.

    Raises:
        UserError: there is none, or it is broken.
    """
    folder = folder_of(what, model)
    config = _config(folder)
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise UserError(
            f"{folder}/config.json has no model_type; fix: name a folder that transformers saved"
        )
    if not any(any(folder.glob(pattern)) for pattern in WEIGHTS):
        raise UserError(f"{folder} has no weights, such as model.safetensors; fix: copy it again")
    if not any((folder / name).is_file() for name in PROCESSORS):
        raise UserError(
            f"{folder} has no {PROCESSORS[0]}, which says how images are made for the model; fix: "
            "copy it from where the model is from"
        )
    named = config.get("id2label")
    classes: tuple[str, ...] = ()
    if isinstance(named, dict):
        try:
            classes = tuple(str(named[key]) for key in sorted(named, key=int))
        except ValueError:
            raise UserError(f"{folder}/config.json: id2label is no list of classes") from None
    saved = config.get("architectures")
    return Checkpoint(
        str(folder),
        folder.name if Path(model).expanduser().is_dir() else model,
        kind,
        classes,
        tuple(map(str, saved)) if isinstance(saved, list) else (),
        config.get("problem_type") == "multi_label_classification",
    )


def folder_of(what: str, model: str) -> Path:
    """The folder of a model; errors as of `checkpoint`."""
    is_name = _HUB_NAME.fullmatch(model) and not Path(model).exists()
    cached = _cached(model) if is_name and not model.startswith(".") else None
    return require_folder(what, model) if cached is None else cached


def require_folder(what: str, model: str) -> Path:
    """The folder that a user names as a model.

    Raises:
        UserError: none is named, or it is none.
    """
    if not model:
        # The first option of a spec follows a question mark, the others an ampersand.
        mark = "&" if "?" in what else "?"
        raise UserError(
            f"{what} has no model; fix: write {what}{mark}model=FOLDER, or choose another back end"
        )
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if folder.exists():
        raise UserError(f"{model} is a file, and no folder of a model; fix: name the folder")
    raise UserError(
        f"no such model: {model} is neither a folder nor in the hub's cache, and tools download "
        "nothing; fix: check the path, or download it first"
    )


def _cached(model: str) -> Path | None:
    """The folder of a model in the hub's cache."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    found = try_to_load_from_cache(model, "config.json")
    return Path(found).parent if isinstance(found, str) else None


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder} has no config.json; fix: name the folder of a checkpoint")
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON; fix: copy it again") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} is no object; fix: copy it again")
    return config


def architectures(auto_class: str) -> Collection[str]:
    """The architectures that an auto class of transformers loads.

    Raises:
        UserError: transformers is not installed.
    """
    try:
        from transformers.models.auto import modeling_auto
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    words = re.findall("[A-Z][a-z]*", auto_class.removeprefix("AutoModel"))
    known: Collection[str] = getattr(
        modeling_auto, f"MODEL_{'_'.join(words).upper()}_MAPPING_NAMES"
    )
    return known


def require_kind(found: Checkpoint, does: str, groups: Mapping[str, Collection[str]]) -> str:
    """Which of several groups of architectures a checkpoint is of.

    Args:
        does: what is asked of the model, for the error, such as `detects`.
        groups: the architectures of each auto class of transformers, by the class's name. Of
            several that know the architecture the first fits of which the saved class is one.

    Raises:
        UserError: it is of none.
    """
    fits = [name for name, kinds in groups.items() if found.kind in kinds]
    if not fits:
        raise UserError(
            f"{found.name} is a model of the type {found.kind!r}, which does not do this: "
            f"{does}; fix: name one for {' or '.join(groups)}"
        )
    for name in fits:
        ending = "For" + name.removeprefix("AutoModelFor")
        if any(saved.endswith(ending) for saved in found.architectures):
            return name
    return fits[-1]


def require_names(what: str, found: Checkpoint, given: Sequence[str]) -> tuple[str, ...]:
    """The names of a model's classes, or those that the user gives in their place.

    Raises:
        UserError: the model has only numbers and none are given, or another number is given.
    """
    if given:
        if len(given) != len(found.classes):
            raise UserError(
                f"{what}: labels has {len(given)} names, and {found.name} has "
                f"{len(found.classes)} classes; fix: give one for each, in their order"
            )
        return tuple(given)
    if not found.classes or all(_NAMELESS.fullmatch(name) for name in found.classes):
        raise UserError(
            f"the classes of {found.name} have no names, only {found.classes[0]!r} and so on; "
            f"fix: write {what}?model=...&labels=FIRST;SECOND;..."
            if found.classes
            else f"{found.name} has no classes; fix: name another model"
        )
    return found.classes


def named(text: str) -> tuple[str, ...]:
    """The names of an option that takes several: `nodule;mass`."""
    return tuple(name for part in text.split(";") if (name := " ".join(part.split())))
