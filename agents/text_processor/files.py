"""The files of a model's folder, as far as they can be read without transformers."""

import json
from pathlib import Path
from typing import Any


class NeedsTransformers(Exception):
    """This model cannot be read without transformers; says why."""


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object of a file, empty where there is no such file.

    Raises:
        NeedsTransformers: it is something else, or the file cannot be read.
    """
    try:
        read = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise NeedsTransformers(f"{path.name} cannot be read") from error
    if not isinstance(read, dict):
        raise NeedsTransformers(f"{path.name} is no JSON object")
    return read


def number(settings: dict[str, Any], name: str) -> int:
    """A positive whole number among settings.

    Raises:
        NeedsTransformers: there is none of that name.
    """
    value = settings.get(name)
    if type(value) is not int or value < 1:
        raise NeedsTransformers(f"{name} is {str(value)[:40]}")
    return value


def stop_tokens(folder: Path) -> frozenset[int]:
    """The tokens that end a reply according to `generation_config.json`, if any.

    Raises:
        NeedsTransformers: they have another form.
    """
    found = read_object(folder / "generation_config.json").get("eos_token_id")
    ids = found if isinstance(found, list) else [] if found is None else [found]
    if not all(type(each) is int for each in ids):
        raise NeedsTransformers("generation_config.json names stops of another form")
    return frozenset(ids)
