"""A MONAI bundle: a folder with `configs/inference.json`, `configs/metadata.json` and weights.

Of its config only the network, the preprocessing and the inferer are read. An expression (`$...`)
in them, and a class from outside MONAI and torch, is Python code of the bundle's author: it is run
only if the user says so.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgym.errors import UserError

from .checkpoint import require_folder

PARTS = ("network_def", "preprocessing", "inferer")
"""The parts of a config that are used."""

TRUSTED = ("monai.networks.", "monai.transforms.", "monai.inferers.", "torch.nn.")
"""Where the classes of a config may be from without `trust_remote_code`."""

FILES = ("LoadImage", "SaveImage", "EnsureChannelFirst", "AddChannel", "AsChannelFirst")
"""Transforms that read and write files: medgym reads, and hands on channels first."""

_REFERENCE = re.compile(r"@([A-Za-z_]\w*)")


@dataclass(frozen=True)
class Bundle:
    """A bundle, of which only the config was read.

    Attributes:
        folder: its path. name: of the folder. weights: the file.
        config: of the inference. dims: 2 or 3. channels: of an image.
        classes: what each channel of the network's output means.
        is_multi_label: whether they do not exclude each other.
    """

    folder: str
    name: str
    weights: str
    config: Mapping[str, Any]
    dims: int
    channels: int
    classes: tuple[str, ...]
    is_multi_label: bool


def bundle(what: str, model: str, labels: Sequence[str], trusted: bool) -> Bundle:
    """Read a bundle's configs.

    Args:
        what: the spec up to the model, for errors.
        labels: names for the channels of the output, in place of the bundle's own.
        trusted: whether code of the bundle may be run.

    Raises:
        UserError: it is no bundle, or one that cannot be used.
    """
    folder = require_folder(what, model)
    config = _read(folder, "inference")
    if config is None:
        raise UserError(
            f"{folder} has no configs/inference.json; fix: name the folder of a MONAI bundle"
        )
    network = config.get("network_def")
    if not isinstance(network, dict) or "_target_" not in network:
        raise UserError(f"{folder}/configs/inference.json has no network_def; fix: add it")
    if not trusted:
        _require_plain(folder, config)
    formats = (_read(folder, "metadata") or {}).get("network_data_format", {})
    inputs = _first(formats.get("inputs"), "image")
    outputs = _first(formats.get("outputs"), "pred")
    dims = network.get("spatial_dims") or len(inputs.get("spatial_shape") or ())
    if dims not in (2, 3):
        raise UserError(
            f"{folder} does not say whether it takes images or volumes; fix: write spatial_dims in "
            "network_def"
        )
    channels = inputs.get("num_channels") or network.get("in_channels")
    if channels not in (1, 3):
        raise UserError(
            f"{folder} takes images of {channels} channels; fix: name a bundle for 1 (grey) or 3 "
            "(colours)"
        )
    count = outputs.get("num_channels") or network.get("out_channels")
    weights = folder / "models" / "model.pt"
    if not weights.is_file():
        raise UserError(f"{folder} has no models/model.pt; fix: copy the weights there")
    is_multi_label = count == 1 or _is_sigmoid(config.get("postprocessing"))
    classes = _classes(folder, outputs.get("channel_def"), count, labels)
    return Bundle(
        str(folder), folder.name, str(weights), config, dims, channels, classes, is_multi_label
    )


def _read(folder: Path, name: str) -> dict[str, Any] | None:
    for ending in ("json", "yaml", "yml"):
        path = folder / "configs" / f"{name}.{ending}"
        if not path.is_file():
            continue
        try:
            text = path.read_text("utf-8")
            if ending == "json":
                config = json.loads(text)
            else:
                import yaml

                config = yaml.safe_load(text)
        except ModuleNotFoundError as error:
            raise UserError("PyYAML is not installed; fix: pip install pyyaml") from error
        except Exception as error:
            raise UserError(f"{path} cannot be read; fix: copy it again") from error
        if not isinstance(config, dict):
            raise UserError(f"{path} is no object; fix: copy it again")
        return config
    return None


def _first(formats: object, name: str) -> dict[str, Any]:
    """What metadata says of the input or the output of that name, or else of the first."""
    if not isinstance(formats, dict) or not formats:
        return {}
    found = formats.get(name, next(iter(formats.values())))
    return found if isinstance(found, dict) else {}


def _classes(folder: Path, named: object, count: object, labels: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(count, int) or count < 1:
        raise UserError(f"{folder} does not say how many classes it has; fix: write out_channels")
    if labels:
        if len(labels) != count:
            raise UserError(
                f"labels has {len(labels)} names, and {folder} has {count} classes; fix: give one "
                "for each, in their order"
            )
        return tuple(labels)
    names: dict[int, str] = {}
    if isinstance(named, dict):
        names = {int(key): str(name) for key, name in named.items() if str(key).isdigit()}
    if count == 1 and len(names) == 2:  # background and the structure, of one channel
        names = {0: names[max(names)]}
    if set(names) != set(range(count)):
        raise UserError(
            f"the {count} classes of {folder} have no names; fix: write channel_def in its "
            "metadata, or labels=FIRST;SECOND;..."
        )
    return tuple(names[number] for number in range(count))


def _is_sigmoid(postprocessing: object) -> bool:
    """Whether the outputs go through a sigmoid, each for itself."""
    return any(
        str(part.get("_target_", "")).rpartition(".")[2].startswith("Activations")
        and part.get("sigmoid") is True
        for part in _objects(postprocessing)
    )


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _objects(each)
    elif isinstance(value, list):
        for each in value:
            yield from _objects(each)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _require_plain(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse code in the parts that are used, and in those that they refer to."""
    todo, seen = [part for part in PARTS if part in config], set()
    while todo:
        part = todo.pop()
        if part in seen or part == "device":  # which is ours
            continue
        seen.add(part)
        value = config.get(part)
        for text in _texts(value):
            if text.startswith(("$", "%")):
                raise _untrusted(folder, f"{part} has the expression {text[:60]!r}")
            todo += _REFERENCE.findall(text)
        for each in _objects(value):
            target = str(each.get("_target_", "monai.networks."))
            if "." in target and not target.startswith(TRUSTED):
                raise _untrusted(folder, f"{part} names the class {target[:60]}")


def _untrusted(folder: Path, what: str) -> UserError:
    return UserError(
        f"the bundle {folder} brings Python code of its own ({what}), which is run only if you say "
        "so; fix: read that code, then add trust_remote_code=true"
    )


def require_own(found: Bundle) -> None:
    """Refuse classes by their bare names that are none of MONAI's networks and transforms.

    MONAI finds any of its functions by name, those that download too.

    Raises:
        UserError: there is one.
    """
    from monai import inferers, networks, transforms

    homes = (networks.nets, networks.blocks, transforms, inferers)
    for part in PARTS:
        for each in _objects(found.config.get(part)):
            target = each.get("_target_", "monai.")
            if "." not in target and not any(hasattr(home, target) for home in homes):
                raise _untrusted(Path(found.folder), f"{part} names the class {target[:60]}")


def is_file_transform(transform: object) -> bool:
    """Whether a transform of the preprocessing reads or writes files, or moves channels."""
    target = transform.get("_target_", "") if isinstance(transform, dict) else ""
    return str(target).rpartition(".")[2].removesuffix("d").removesuffix("D") in FILES
