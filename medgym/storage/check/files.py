"""All other files of a run: whole JSON, whole weights, archives whose checksums are right.

Weights and checkpoints are not loaded, and nothing in them is executed.
"""

import json
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

from medgym.errors import UserError
from medgym.failures import reason_of
from medgym.storage.adapters import CONFIG, checked
from medgym.storage.json_files import read_lines, reason

from .report import Damage, RunRow, first
from .walk import Contents


def check_files(found: Contents, advance: Callable[[], object]) -> tuple[RunRow, list[Damage]]:
    """Look at every file of a run that is neither a part nor an image."""
    damages = []
    weights = 0
    for path in found.others:
        try:
            _LOOKS.get(path.suffix, _nothing)(path)
            weights += path.suffix == ".safetensors"
        except UserError as error:
            said = str(error).partition("; fix: ")[0]
            damages.append(Damage(path, f"is damaged ({said})"))
        except (OSError, ValueError, RecursionError) as error:
            damages.append(Damage(path, f"is damaged ({reason(error)})"))
        except Exception as error:  # damaged bytes make a library raise what it likes
            damages.append(Damage(path, f"is damaged ({reason_of(error)})"))
        advance()
    if damages:
        return RunRow("files", "fail", first(found.folder, damages)), damages
    models = f", {weights} of them weights" if weights else ""
    return RunRow("files", "pass", f"{len(found.others)} can be read{models}"), []


def _json(path: Path) -> None:
    json.loads(path.read_text("utf-8"))
    if path.name == CONFIG and (path.parent / "adapter_model.safetensors").exists():
        try:
            checked(path.parent)  # a published version notes the hash of its files
        except UserError as error:
            raise ValueError("it or its adapter_model.safetensors changed after it") from error


def _toml(path: Path) -> None:
    tomllib.loads(path.read_text("utf-8"))


def _lines(path: Path) -> None:
    read_lines(path)


def _weights(path: Path) -> None:
    """A file of safetensors begins with the length of its head, which says where its data ends."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        size = path.stat().st_size
        if not 2 <= length <= size - 8:
            raise ValueError("its head does not fit its size")
        head = json.loads(stream.read(length))
    ends = [about["data_offsets"][1] for name, about in head.items() if name != "__metadata__"]
    if 8 + length + max(ends, default=0) != size:
        raise ValueError("its head does not fit its size")


def _archive(path: Path) -> None:
    """What PyTorch saves is a zip archive, which has a checksum of each of its files."""
    with zipfile.ZipFile(path) as archive:
        bad = archive.testzip()
    if bad is not None:
        raise ValueError(f"the checksum of {bad} in it is wrong")


def _nothing(path: Path) -> None:
    """There is nothing to hold such a file against."""


_LOOKS: dict[str, Callable[[Path], None]] = {
    ".json": _json,
    ".jsonl": _lines,
    ".toml": _toml,
    ".safetensors": _weights,
    ".pt": _archive,
    ".pth": _archive,
}
