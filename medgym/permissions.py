"""What a recipe may not do by itself: name a host that gets the key and the images, or report.

A recipe may come from anyone. What it names beyond this machine is refused unless the user permits
it: by an option (`--allow-host HOST`, `--allow-report NAME`), by MEDGYM_ALLOW_HOSTS=HOST,HOST, by
OPENAI_BASE_URL, or in the user's own `config.toml`:

    allow_hosts = ["gpu-1.example.org"]
    allow_reports = ["wandb"]

A host of this machine may be named, but gets no key: any user of the machine may listen there.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from medgym.errors import UserError

HOSTS = "MEDGYM_ALLOW_HOSTS"
"""The variable that permits hosts, joined by commas."""

_KEYS = ("MEDGYM_API_KEY", "OPENAI_API_KEY")
_by_recipe: ContextVar[bool] = ContextVar("by_recipe", default=False)
_given: dict[str, frozenset[str]] = {"hosts": frozenset(), "reports": frozenset()}
_warned: set[str] = set()


class _Configuration(BaseModel):
    """The user's own `config.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow_hosts: tuple[str, ...] = ()
    allow_reports: tuple[str, ...] = ()


def allow_hosts(hosts: Iterable[str]) -> None:
    """Permit the hosts that the command line names, in place of those before.

    Raises:
        UserError: a URL, or anything else that is no host.
    """
    _given["hosts"] = frozenset(_host(host, "--allow-host") for host in hosts)


def allow_reports(names: Iterable[str]) -> None:
    """Permit the services that the command line names, in place of those before."""
    _given["reports"] = frozenset(names)


def allowed_hosts() -> frozenset[str]:
    """All hosts that a recipe may name beyond this machine.

    Raises:
        UserError: the variable or the user's configuration cannot be read.
    """
    named = os.environ.get(HOSTS, "")
    hosts = {_host(host.strip(), HOSTS) for host in named.split(",") if host.strip()}
    try:
        base = urlsplit(os.environ.get("OPENAI_BASE_URL", "")).hostname
    except ValueError:  # not shown: a password may be in it
        raise UserError("OPENAI_BASE_URL is no URL; fix: correct or unset it") from None
    path = configuration_file()
    own = {_host(host, f"{path}: allow_hosts") for host in _configuration(path).allow_hosts}
    return _given["hosts"] | hosts | own | ({base} if base else set())


def allowed_reports() -> frozenset[str]:
    """All services that a recipe may report to.

    Raises:
        UserError: the user's configuration cannot be read.
    """
    return _given["reports"] | {*_configuration(configuration_file()).allow_reports}


def configuration_file() -> Path:
    """Where the user's own configuration lies, if there is one."""
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "medgym" / "config.toml"


@contextmanager
def by_recipe(named: bool = True) -> Iterator[None]:
    """What is made in this block is named by a recipe, and not by the user."""
    token = _by_recipe.set(named or _by_recipe.get())
    try:
        yield
    finally:
        _by_recipe.reset(token)


def is_by_recipe() -> bool:
    """Whether what is made now is named by a recipe, and not by the user."""
    return _by_recipe.get()


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def key_for(url: str) -> str | None:
    """The user's key for a server, where there is one and the server may have it.

    Raises:
        UserError: a recipe names the server, and the user has not permitted its host.
    """
    host = urlsplit(url).hostname or ""
    if _by_recipe.get() and host not in allowed_hosts():
        check_host(host, f"a policy at {host}")
        return None
    return user_key()


def user_key() -> str | None:
    """The user's key, if there is one; `key_for` says who may have it."""
    return next((key for name in _KEYS if (key := os.environ.get(name))), None)


def check_host(host: str, what: str) -> None:
    """Refuse a host beyond this machine that a recipe names and the user has not permitted.

    Raises:
        UserError: it is such a host.
    """
    if not is_loopback(host) and host not in allowed_hosts():
        raise UserError(
            f"the recipe names {what}, which would get your images and your key; fix: add "
            f"--allow-host {host} if you trust it (or permit it in {configuration_file()})"
        )


def warn_in_clear(url: str) -> None:
    """Say once on stderr that a key or a password goes to a server without encryption."""
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or "") and url not in _warned:
        _warned.add(url)
        print(
            f"medgym: warning: the key goes in clear to {url}; fix: use https",
            file=sys.stderr,
        )


def _configuration(path: Path) -> _Configuration:
    from medgym.toml import read_table, read_toml

    if not path.is_file():
        return _Configuration()
    return read_table(_Configuration, read_toml(path)[0], str(path))


def _host(text: str, where: str) -> str:
    host = text.lower().removeprefix("[").removesuffix("]")
    if not host or any(mark in host for mark in "/@?# ") or (":" in host and "::" not in host):
        raise UserError(f"{where}: {text!r} is no host; fix: write the host only, such as gpu-1")
    return host
