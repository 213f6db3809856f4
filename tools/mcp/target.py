"""Which server `mcp:REST` means: an address, or a command that is started, and options.

    mcp:http://127.0.0.1:8765/mcp?image=picture
    mcp:python segmenter.py --fast?image=picture&as=path&only=segment

A question mark of an address or of a command itself is written `%3F`.
"""

import shlex
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import unquote, urlsplit

from medgym.errors import UserError
from medgym.permissions import allowed_hosts, check_host, is_by_recipe, is_loopback
from medgym.spec import read_options, without_credentials
from medgym.tool import DEADLINE_S

Form = Literal["base64", "data-url", "path"]
"""How a server gets a picture: PNG in base64, the same as a `data:` URL, or the path of a file."""


@dataclass(frozen=True)
class Target:
    """A server and how its tools are used.

    Attributes:
        url: its address; empty where a command is started.
        command: the words of that command.
        image: the argument of its tools that receives a view, if any does.
        form: how a view is given.
        only: the tools that are used; empty for all.
        timeout: seconds that a call may take.
        gets_token: whether the user's token is sent to it.
    """

    url: str = ""
    command: tuple[str, ...] = ()
    image: str = ""
    form: Form = "base64"
    only: tuple[str, ...] = ()
    timeout: float = DEADLINE_S
    gets_token: bool = True

    @property
    def server(self) -> tuple[str, ...]:
        """What tells servers apart: one connection serves all tools of one."""
        return (self.url, *self.command)

    @property
    def name(self) -> str:
        """What errors call it: the address without what it is asked, or the program."""
        return self.url.partition("?")[0] if self.url else self.command[0]


def target_of(rest: str) -> Target:
    """What follows `mcp:` in a spec.

    A recipe may come from anyone. It may name a server of this machine, or of a host that the user
    permits, and it may not name a command.

    Raises:
        UserError: no server, an address that holds a password, an unknown option, a wrong value, or
            a server that a recipe may not name.
    """
    where, _, query = rest.partition("?")
    where = unquote(where).strip()
    kinds = {"image": str, "as": str, "only": str, "timeout": float}
    given = read_options("mcp", query, kinds)
    form = given.pop("as", "base64")
    if form not in get_args(Form):
        raise UserError(f"mcp: as={form} is unknown; fix: write {', '.join(get_args(Form))}")
    timeout = given.pop("timeout", DEADLINE_S)
    if not 0 < timeout <= 86_400:
        raise UserError(f"mcp: timeout={timeout:g} is no time; fix: give seconds above 0")
    only = tuple(name for name in given.pop("only", "").split(",") if name)
    url, command = _server(where)
    if form == "path" and url and not is_loopback(urlsplit(url).hostname or ""):
        raise UserError("mcp: as=path needs a server on this machine; fix: write as=base64")
    gets_token = not is_by_recipe() or _is_permitted(url, command)
    return Target(url, command, given.get("image", ""), form, only, timeout, gets_token)


def _is_permitted(url: str, command: tuple[str, ...]) -> bool:
    """Whether the user permits the host that a recipe names, so that it may have the token."""
    if command:
        raise UserError(
            f"the recipe, or the run, names the command {command[0]!r}, which would run with your "
            "rights; fix: name that tool by --tools, or start the server yourself, and name its "
            "address: mcp:http://127.0.0.1:PORT/mcp"
        )
    host = urlsplit(url).hostname or ""
    check_host(host, f"the MCP server {host}")
    return host in allowed_hosts()


def _server(where: str) -> tuple[str, tuple[str, ...]]:
    if not where:
        raise UserError("mcp: names no server; fix: write mcp:URL or mcp:COMMAND")
    if where.startswith(("http://", "https://")):
        if without_credentials(where) != where:
            raise UserError(
                "mcp: the address holds a password; fix: leave it out, and put a token into "
                "MEDGYM_MCP_TOKEN"
            )
        try:
            parts = urlsplit(where)
            named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            named = False
        if not named:
            raise UserError(f"mcp: {where!r} is no address; fix: write mcp:http://HOST:PORT/mcp")
        return where, ()
    try:
        command = tuple(shlex.split(where))
    except ValueError as error:
        raise UserError(f"mcp: {where!r} is no command ({error}); fix: correct it") from error
    return "", command
