"""Embedders by name: `characters`, `blocks`, and, with a model, such as `clip:DIR`."""

import hashlib
from importlib import import_module
from pathlib import Path

from medgym.errors import UserError, unknown

from .embedder import Embedder

EMBEDDERS = {
    "blocks": ("blocks", "Blocks"),
    "characters": ("characters", "Characters"),
    "clip": ("clip", "ClipEmbedder"),
    "dino": ("dino", "Dino"),
    "sentence-transformers": ("sentences", "Sentences"),
}
"""By name: the module and the class."""

DEFAULTS = ("characters", "blocks")
"""What an index has where none is named: neither needs a model."""

_SMALL = 1_000_000


def embedder_of(spec: str) -> Embedder:
    """The embedder that a spec names; its model is not loaded yet.

    Raises:
        UserError: there is none of that name, its model is not named, or no folder.
    """
    name, colon, folder = spec.partition(":")
    if name not in EMBEDDERS:
        raise unknown("embedder", name, EMBEDDERS)
    module, kind = EMBEDDERS[name]
    make = getattr(import_module(f".{module}", __package__), kind)
    if not make.needs_model:
        if colon:
            raise UserError(f"the embedder {name} has no model; fix: write {name}")
        made: Embedder = make()
        return made
    if not folder:
        raise UserError(f"the embedder {name} needs a model; fix: write {name}:DIR")
    path = Path(folder).expanduser().absolute()
    if not path.is_dir():
        raise UserError(f"no such model folder: {folder}; fix: check the path")
    made = make(path)
    return made


def state_of(spec: str) -> str:
    """What tells the model of a spec from another: a hash of its small files, and of the names and
    sizes of all; "" of an embedder without a model."""
    folder = spec.partition(":")[2]
    if not folder:
        return ""
    whole, root = hashlib.sha256(), Path(folder).expanduser()
    for path in sorted(each for each in root.rglob("*") if each.is_file()):
        size = path.stat().st_size
        whole.update(f"{path.relative_to(root).as_posix()}\0{size}\0".encode())
        if size <= _SMALL:
            whole.update(path.read_bytes())
    return whole.hexdigest()
