"""The two ways in which medgym says no to its user.

Each carries one line that names the thing and the fix. The command prints only that line, without a
traceback, and turns the class into its exit status. A policy never sees these: what a policy does
wrong is an observation (`ToolError`).
"""

import difflib
import re
from collections.abc import Iterable
from typing import Literal


class UserError(Exception):
    """What was asked is wrong: a bad spec, a missing file, a wrong key. Exit status 2."""


class RunError(Exception):
    """What was asked is right and failed nevertheless. Exit status 1."""


class StorageError(RunError):
    """The folder of a run takes nothing more, so that to go on would lose what is paid for."""


Fault = Literal["name", "type", "value", "late", "memory"]
"""What was wrong with a call: a name (of the tool or of an argument), an argument's type, or a
value that the schema admits and these images do not (a box outside the view). `late` and `memory`
are no mistakes of the policy: the tool took longer than its deadline, or needed more memory than it
may."""


class ToolError(Exception):
    """A policy's mistake in a call. Its text is the observation; it says what was expected."""

    def __init__(self, text: str = "", fault: Fault = "value") -> None:
        super().__init__(text)
        self.fault: Fault = fault


def unknown(what: str, given: str, known: Iterable[str]) -> UserError:
    """The error for an unknown name. It gives the nearest known name, else all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.6)
    fix = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
    return UserError(f"unknown {what} {given!r}; {fix}")


def closed_output() -> RunError:
    """The error for an output that is closed before its end, as by `medgym ... | head`."""
    return RunError("the output was closed before its end; fix: let it be read whole")


def missing_library(error: ImportError) -> UserError:
    """The error for an import that failed. It says what to install.

    What medgym's own code imports comes with one of medgym's extras. What a plug-in or another
    library imports is named by itself.
    """
    library = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or error.name != library:  # it is there in part
        said = (str(error).splitlines() or ["an import failed"])[0]
        needed = f"{library} or of what imports it" if library else "that library"
        return UserError(f"{said}; fix: install another version of {needed}")
    extra = _extras().get(library) if _is_ours(error) else None
    wanted = library if extra is None else _with_extra(extra)
    return UserError(f"{library} is not installed; fix: pip install {wanted}")


_COME_WITH = {
    "anyio": "mcp",
    "dicomanonymizer": "scrub",
    "huggingface_hub": "train",
    "mcp_types": "mcp",
    "safetensors": "train",
    "uvicorn": "mcp",
}
"""The extras of libraries that others of the same extra require, or that are imported under another
name than they are installed."""


def _is_ours(error: ImportError) -> bool:
    """Whether the import that failed stands in medgym's own code."""
    importer, trace = "medgym", error.__traceback__
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] != "importlib":
            importer = name
        trace = trace.tb_next
    return importer.partition(".")[0] == "medgym"


def _extras() -> dict[str, str]:
    """The extra that brings each optional library, as medgym's own metadata has it."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        required = requires("medgym") or []
    except PackageNotFoundError:
        required = []
    extras: dict[str, str] = {}
    for line in required:
        found = re.match(r"([\w.-]+).*;.*extra == ['\"]([\w-]+)['\"]", line)
        if found is not None and found[2] != "dev":
            extras.setdefault(found[1].replace("-", "_"), found[2])
    return _COME_WITH | extras


def _with_extra(extra: str) -> str:
    """What to give to pip for medgym with an extra, from where medgym was installed."""
    import json
    import shlex
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import unquote, urlsplit

    try:
        origin = json.loads(distribution("medgym").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        origin = {}
    url = str(origin.get("url", ""))
    if not url:
        return f"'medgym[{extra}]'"
    if "dir_info" in origin:
        flag = "-e " if origin["dir_info"].get("editable") else ""
        return flag + shlex.quote(f"{unquote(urlsplit(url).path)}[{extra}]")
    vcs = origin.get("vcs_info", {})
    revision = f"@{vcs['commit_id']}" if "commit_id" in vcs else ""
    return shlex.quote(f"medgym[{extra}] @ {vcs['vcs'] + '+' if vcs else ''}{url}{revision}")
