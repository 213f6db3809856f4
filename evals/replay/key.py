"""What a cached reply is found by: everything that the reply depends on."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import medgym
from medgym.messages import CallResult, ImagePart, Message, Reply, TextPart
from medgym.policy import Policy, Sampling
from medgym.registry import entry_point, names
from medgym.spec import split_spec
from medgym.tool import Tool
from medgym.tool_record import spec_of

from .reply import encoded

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def identity_of(policy: Policy, tools: Mapping[str, str]) -> str:
    """Who answers: the policy, what its spec refers to, the tools' versions, and medgym's own.

    A model or an adapter in a folder is known by the names, sizes and dates of its files, one of
    the hub by the revision in the hub's cache. What a server serves under a name is not known.
    """
    return _json(_known_by(policy) | {"tools": tools, "kind": policy.kind})


def address_of(policy: Policy) -> str:
    """What names a policy before it has said what it can do."""
    return hashlib.sha256(_json(_known_by(policy)).encode("utf-8", "surrogatepass")).hexdigest()


def _known_by(policy: Policy) -> dict[str, Any]:
    _, rest, adapter = split_spec(policy.spec) if ":" in policy.spec else ("", "", None)
    named = (rest.partition("?")[0], adapter or "")
    return {
        "medgym": medgym.__version__,
        "class": f"{type(policy).__module__}:{type(policy).__qualname__}",
        "policy": policy.spec,
        "version": policy.version,
        "described": policy.describe(),
        "files": [_files(_place_of(name)) for name in named if name],
    }


def tool_versions(tools: Iterable[Tool]) -> dict[str, str]:
    """What each tool is, by its name: its package with the version, its spec and own version."""
    found, registered = {}, names("tools")
    for tool in tools:
        owner = entry_point("tools", tool.name).dist if tool.name in registered else None
        package = "" if owner is None else f"{owner.name} {owner.version}"
        found[tool.name] = f"{package} {spec_of(tool)} {tool.version}"
    return found


def key_of(
    identity: str, case_hash: str, conversation: Sequence[Message], sampling: Sampling
) -> str:
    """The key of a reply.

    Args:
        identity: of `identity_of`. case_hash: of the case, where that is known.
        conversation: what the policy reads; its images count by their pixels.
        sampling: with the seed of this one reply.
    """
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass"))
    digest.update(_json([case_hash, vars(sampling)]).encode())
    for message in conversation:
        told = _json(
            [
                message.role,
                [_part(part) for part in message.content],
                None if message.offer is None else vars(message.offer),
                [_result(result) for result in message.results],
            ]
        )
        digest.update(told.encode("utf-8", "surrogatepass"))
        if message.reply is not None:  # its tokens, and what else the policy keeps of it
            digest.update(_reply(message.reply))
    return digest.hexdigest()


def _part(part: TextPart | ImagePart) -> list[Any]:
    if isinstance(part, TextPart):
        return ["text", part.text]
    return ["image", part.view, *part.size, part.sha256]


def _result(result: CallResult) -> list[Any]:
    return [result.text, *map(_part, result.images)]


def _reply(reply: Reply) -> bytes:
    try:
        return encoded(reply)
    except ValueError:  # it was not kept itself; what follows on it may be
        return repr(reply).encode("utf-8", "surrogatepass")


def _place_of(name: str) -> Path:
    """Where the files of a model or an adapter are; of one of the hub what names its revision."""
    path = Path(name).expanduser() if name.startswith("~") else Path(name)
    if _HUB_NAME.fullmatch(name) is None or path.exists():
        return path
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    cache = os.environ.get("HF_HUB_CACHE") or f"{home}/hub"
    return Path(cache).expanduser() / f"models--{name.replace('/', '--')}" / "refs"


def _files(path: Path) -> list[list[Any]]:
    """The files at a path, or in the folder there; none where there is no such path."""
    try:
        if path.is_file():
            files = [path]
        else:
            files = sorted(each for each in path.rglob("*") if each.is_file())
        about = [(file, file.stat()) for file in files]
    except (OSError, ValueError):  # what follows the colon of a spec need not be a path
        return []
    return [[str(file), stat.st_size, stat.st_mtime_ns] for file, stat in about]


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str) + "\n"
