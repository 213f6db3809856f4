"""LoRA adapters as they change while they are trained: published, and loaded by running samplers.

A version is written once, under a path (`adapters/ROLE/STEP`) and a name (`ROLE-STEP`) of its own.
Engines keep prefix caches by an adapter's name: one that is replaced in place would still answer
from cached blocks of its old weights. A sampler is any policy with `with_adapter` and
`drop_adapter`. It serves the adapters of several roles side by side from one base.
"""

import hashlib
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from medgym.errors import UserError
from medgym.policy import Policy
from medgym.storage.atomic import UNFINISHED, check_writable, remove, sync, write_atomic
from medgym.storage.json_files import read_json

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""The files in the folder of a PEFT adapter."""

HASH = "content.sha256"
"""A file in a version's folder with the hash of these two. Older versions do not have it."""

BEST = "best"
"""A file beside a role's versions with the step of the best one, where a run chose it."""

_ROLE = re.compile(r"\w+(-\w+)*")


@dataclass(frozen=True)
class Version:
    """A published adapter: its role, the step after which it was written, and its folder."""

    role: str
    step: int
    path: Path

    @property
    def name(self) -> str:
        """Its name for samplers and in trajectories: `ROLE-STEP`."""
        return f"{self.role}-{self.step}"


class Sampler(Protocol):
    """A policy whose engine takes adapters while it runs."""

    def with_adapter(self, name: str, path: Path) -> Policy:
        """The policy of the same engine that plays by the adapter, which is loaded if needed."""

    def drop_adapter(self, name: str) -> None:
        """Unload the adapter. No policy may be playing by it."""


def publish(adapter: Path, run: Path, role: str, step: int) -> Version:
    """Write an adapter's folder as a new version into a run's folder, whole or not at all.

    Publishing the same content again changes nothing, so a run that was killed can repeat it.

    Raises:
        UserError: no adapter in the folder, a role that cannot be part of a name, or a version with
            other content.
    """
    if not _ROLE.fullmatch(role) or step < 0:
        raise UserError(
            f"{role}-{step} cannot name a version; fix: letters and digits, and a step from 0"
        )
    digest = content(adapter)
    version = Version(role, step, run.resolve() / "adapters" / role / str(step))
    if version.path.exists():
        if checked(version.path) != digest:
            raise UserError(
                f"{version.path} holds another adapter; fix: publish under a new step, since "
                "samplers may still answer by the old one"
            )
        return version
    check_writable(version.path)
    version.path.parent.mkdir(parents=True, exist_ok=True)
    making = version.path.parent / f"{UNFINISHED}{secrets.token_hex(8)}"
    try:
        making.mkdir()
        for name in (CONFIG, WEIGHTS):
            shutil.copyfile(adapter / name, making / name)
            sync(making / name)
        (making / HASH).write_text(f"{digest}\n", "utf-8")
        sync(making / HASH)
        sync(making)
        remove(version.path)  # a link that points nowhere, if anything
        making.rename(version.path)
    except OSError:
        with suppress(OSError):
            remove(making)
        raise
    sync(version.path.parent)
    return version


def published(run: Path, role: str) -> tuple[Version, ...]:
    """The versions of a role in a run's folder, the oldest first."""
    folder = run.resolve() / "adapters" / role
    steps = sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal())
    return tuple(Version(role, step, folder / str(step)) for step in steps)


def final(run: Path, role: str) -> Version | None:
    """The version that a run's trained policy plays by; None before there is one.

    It is the one that was marked as the best, or else the newest.
    """
    versions = published(run, role)
    mark = run.resolve() / "adapters" / role / BEST
    best = mark.read_text("utf-8", "replace").strip() if mark.is_file() else None
    marked = [version for version in versions if str(version.step) == best]
    return next(iter((*marked, *versions[-1:])), None)


def mark_best(version: Version) -> None:
    """Have the run's trained policy play by this version, whatever is newer."""
    write_atomic(version.path.parent / BEST, f"{version.step}\n".encode())


class Samplers:
    """Running samplers that follow what is published.

    Args:
        samplers: policies that play by the base. Each loads every version.
        keep: versions of a role that stay loaded. Episodes that began with the last one may still
            need it.
    """

    def __init__(self, samplers: Sequence[Sampler], keep: int = 2) -> None:
        self._samplers = tuple(samplers)
        self._keep = keep
        self._loaded: dict[str, list[str]] = {}

    def load(self, version: Version) -> tuple[Policy, ...]:
        """Load a version everywhere, unload old ones, and return the policies that play by it.

        Raises:
            UserError: the adapter does not fit a sampler's base, or a sampler cannot load any.
        """
        policies = tuple(each.with_adapter(version.name, version.path) for each in self._samplers)
        loaded = self._loaded.setdefault(version.role, [])
        if version.name not in loaded:
            loaded.append(version.name)
        while len(loaded) > self._keep:
            name = loaded.pop(0)
            for each in self._samplers:
                each.drop_adapter(name)
        return policies


def name_of(folder: Path) -> str:
    """The name of the adapter in a folder: its version's, else one with a hash of its content."""
    folder = folder.expanduser().resolve()
    digest = checked(folder)
    if folder.parent.parent.name == "adapters" and folder.name.isdecimal():
        return f"{folder.parent.name}-{folder.name}"
    return f"{folder.name}-{digest[:8]}"


def content(folder: Path) -> str:
    """The hash of an adapter's files.

    Raises:
        UserError: they are missing.
    """
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS):
        try:
            digest.update((folder / name).read_bytes())
        except OSError as error:
            raise UserError(
                f"no adapter in {folder} (no {name}); fix: name a folder that PEFT saved"
            ) from error
    return digest.hexdigest()


def checked(folder: Path) -> str:
    """`content`, held against the hash that was noted when the version was published.

    Raises:
        UserError: the files are missing, or are not those that were published.
    """
    digest = content(folder)
    noted = folder / HASH
    if noted.is_file() and noted.read_text("utf-8", "replace").strip() != digest:
        raise UserError(
            f"the adapter {folder} is damaged: it is not what was published; fix: restore it, or "
            "see what else is damaged with medgym check run RUN"
        )
    return digest


def check_fit(adapter: Path, base: Path) -> None:
    """Compare an adapter's weights with those in a base's folder, by the headers of their files.

    Engines do not check: vLLM serves an adapter whose layers the base does not have, and answers as
    the base.

    Raises:
        UserError: the base lacks a layer, or has it in another shape.
    """
    from safetensors import SafetensorError

    try:
        weights = {k: s for f in sorted(base.glob("*.safetensors")) for k, s in _shapes(f).items()}
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read the base {base} ({error}); fix: save it again") from error
    if weights:
        check_shapes(adapter, weights, f"the base {base}")


def check_shapes(adapter: Path, weights: Mapping[str, Sequence[int]], base: str) -> None:
    """Compare an adapter's weights with those of a model, given by name and shape.

    Raises:
        UserError: the model lacks a layer, or has it in another shape.
    """
    from safetensors import SafetensorError

    try:
        parts = _shapes(adapter / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"cannot read the adapter {adapter} ({error}); fix: save it again"
        ) from error
    unfit = f"the adapter {adapter} does not fit {base}"
    fix = "fix: name the adapter's own base"
    asked = read_json(adapter / CONFIG)
    # A bare matrix has no layer of its own: PEFT names its module.
    bare = tuple(name.rpartition(".")[0] for name in asked.get("target_parameters") or ())
    for name, shape in parts.items():
        module, _, part = name.partition(".lora_")
        if part not in ("A.weight", "B.weight") or (bare and module.endswith(bare)):
            continue
        # Checkpoints and models put different names before the number of a layer.
        layer = re.search(r"(?:layers|blocks)\.\d+\.", module)
        tail = module[layer.start() :] if layer else module.rpartition(".")[2]
        found = [s for key, s in weights.items() if f".{key}".endswith(f".{tail}.weight")]
        in_layer = layer is not None and any(f".{layer[0]}" in f".{key}" for key in weights)
        if not found and not (in_layer and "experts" in tail):  # which some checkpoints fuse
            raise UserError(f"{unfit} ({tail} is not there); {fix}")
        side = 1 if part == "A.weight" else 0  # A takes what the layer takes, B gives what it gives
        if found and not any(len(s) == 2 and s[side] == shape[side] for s in found):
            raise UserError(f"{unfit} ({tail} has another shape); {fix}")


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import safe_open

    with safe_open(str(file), framework="np") as stream:
        weights: Any = stream
        return {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
