"""Secrets are taken out of everything that medgym writes: records, recipes, errors, tracebacks.

Three things tell a secret: the name beside it (`hub_token = ...`, `Authorization: ...`), its form
(the user and the password of a URL, `Bearer ...`, `hf_...`), and its value, where a variable of the
environment holds it under such a name (`OPENAI_API_KEY`, `HF_TOKEN`, `WANDB_API_KEY`).
"""

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote

from medgym.spec import without_credentials

HIDDEN = "[redacted]"
"""What stands in the place of a secret."""

SHORTEST = 8
"""Characters of a secret that is looked for by its value. A shorter one, such as `none`, is also a
word of other texts; it is only hidden by its name or form."""

_WORDS = (
    r"(?:api|access|private|secret|encryption|account|auth)[_-]?keys?|token|secrets?"
    r"|(?:api|access|auth|refresh)[_-]?tokens|passw(?:or)?ds?"
    r"|passphrase|credentials?|authorization|cookies?|bearer"
)
_DATA_WORDS = r"key|auth|pwd|passcode|jwt|creds?"
"""Names of secrets in data; in prose they are words like others."""

_NAME = re.compile(rf"(?:^|.*[_\-. ])(?:{_WORDS}|{_DATA_WORDS})$", re.IGNORECASE)
_CAMEL = re.compile(r".*[a-z](?:Token|Key|Secret|Password|Credentials|Authorization|Cookie)$")
_OF_TEXT = re.compile(r"(?:^|.*[_\- ])(?:eos|bos|pad|unk|sep|cls|mask|image|video|stop)_token$")

_VALUE = (
    r"""(?:\[redacted\]|(?P<quote>\\?["'])(?:.*?)(?:(?P=quote)|$)"""
    r"""|(?:bearer|basic)\s+[^\s"',;]+|[\[{][^\]}]*[\]}]?|[^\s"',;&#\])}]+)"""
)
_NAMED = re.compile(
    rf"""(?<![A-Za-z0-9])(?P<name>[\w.-]{{0,40}}?(?:{_WORDS}))"""
    rf"""(?P<between>\\?["']?\s*(?P<sign>[=:])\s*){_VALUE}""",
    re.IGNORECASE,
)
_PROSE = re.compile(r"(?:token|secrets?|credentials?|cookies?|bearer)$", re.IGNORECASE)
_FORMS = re.compile(
    r"\b(?P<kind>bearer\s+)(?=\S*[\d_.=-])[^\s\"',;]{6,}"
    r"|\bsk-[A-Za-z0-9_-]{16,}|\bhf_[A-Za-z0-9]{20,}|\bgh[pousr]_[A-Za-z0-9]{20,}",
    re.IGNORECASE,
)
_EXTRA = re.compile(r"(?<=[?&]extra=)(?:(?=\{)|[^\s&#]+)")
_PASSWORD = re.compile(r"//[^/@:\s]*:([^/@\s]+)@")
_QUERY = re.compile(r"[?&]([\w.-]+)=([^&#\s]+)")
_VARIABLE = re.compile(
    r"(?:^|_)(?:API_?KEY|ACCESS_KEY|SECRET_KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS)$"
)


def is_secret(name: str) -> bool:
    """Whether a key of this name holds a secret: `hub_token`, `X-Api-Key`, `password`."""
    named = _NAME.match(name) is not None or _CAMEL.match(name) is not None
    return named and _OF_TEXT.match(name) is None


def known_secrets() -> tuple[str, ...]:
    """Values of the environment that are secrets by their variable's name, the longest first."""
    found = {
        value
        for name, value in os.environ.items()
        # A variable may also say where a secret lies.
        if _VARIABLE.search(name) and len(value) >= SHORTEST and not value.startswith(("/", "~"))
    }
    return tuple(sorted(found, key=len, reverse=True))


def redact_text(text: str, secrets: Iterable[str] | None = None) -> str:
    """A text without the secrets in it.

    Args:
        text: of an error, a recipe, a server. secrets: those known by their value; by default those
            of the environment.
    """
    known = known_secrets() if secrets is None else tuple(secrets)
    for secret in known:
        text = text.replace(secret, HIDDEN)
    text = _without_extra(without_credentials(text), known)
    return _FORMS.sub(_form, _NAMED.sub(_named, text))


def redact(value: Any, secrets: Iterable[str] | None = None) -> Any:
    """Plain data, such as a table of a recipe, without the secrets in its texts and keys."""
    known = known_secrets() if secrets is None else tuple(secrets)
    if isinstance(value, str):
        return redact_text(value, known)
    if isinstance(value, Mapping):
        return {
            redact(key, known): (_hidden if _holds_secret(key, value) else redact)(each, known)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact(each, known) for each in value]
    return value


def secret_values(value: Any) -> tuple[str, ...]:
    """The texts that plain data holds under names of secrets, and those in its URLs."""
    if isinstance(value, Mapping):
        found = (
            (_texts if _holds_secret(key, value) else secret_values)(each)
            for key, each in value.items()
        )
        return tuple(text for texts in found for text in texts)
    if isinstance(value, list | tuple):
        return tuple(text for each in value for text in secret_values(each))
    if not isinstance(value, str):
        return ()
    try:
        within = json.loads(value) if value[:1] in ("{", "[") else None
    except (ValueError, RecursionError):
        within = None
    queried = (said for name, said in _QUERY.findall(value) if is_secret(name))
    return (*_PASSWORD.findall(value), *queried, *secret_values(within))


def _holds_secret(key: object, table: Mapping[Any, Any]) -> bool:
    """Whether a secret stands under a key, or in a header as `{"name": ..., "value": ...}`."""
    return is_secret(str(key)) or (key == "value" and is_secret(str(table.get("name", ""))))


def _texts(value: Any) -> tuple[str, ...]:
    """All texts in plain data but the keys."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, list | tuple):
        return ()
    return tuple(text for each in value for text in _texts(each))


def redact_toml(text: str) -> str:
    """A recipe's text without its secrets; it reads as what `redact` makes of its tables."""
    try:
        tables = redact(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        return redact_text(text)
    shown = redact_text(text)
    try:
        if tomllib.loads(shown) == tables:
            return shown
    except tomllib.TOMLDecodeError:
        pass
    from medgym.toml import toml_text

    return toml_text(tables)


def _hidden(value: Any, secrets: Iterable[str]) -> Any:
    """What stands under a secret's name, without its texts."""
    if isinstance(value, str):
        return HIDDEN if value else value
    if isinstance(value, Mapping):
        return {key: _hidden(each, secrets) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(each, secrets) for each in value]
    return value


def _without_extra(text: str, secrets: Iterable[str]) -> str:
    """A text in which the JSON of an option `extra` of a URL has no secrets, however it is written;
    as it is where it holds none."""
    parts: list[str] = []
    end = 0
    for found in _EXTRA.finditer(text):
        if found.start() < end:
            continue
        try:
            if found[0]:
                value, stop = json.loads(unquote(found[0])), found.end()
            else:
                value, stop = json.JSONDecoder().raw_decode(text, found.start())
        except (ValueError, RecursionError):
            continue
        shown = redact(value, secrets)
        if shown != value:
            written = quote(json.dumps(shown, separators=(",", ":")), safe="")
            parts += [text[end : found.start()], written]
            end = stop
    return "".join([*parts, text[end:]])


def _named(found: re.Match[str]) -> str:
    name, sign = found["name"], found["sign"]
    # In prose, what follows a word and a colon is an explanation: "no token: set one".
    prose = _PROSE.match(name) and sign == ":" and '"' not in found["between"]
    if prose or _OF_TEXT.match(name):
        return found[0]
    quote = found["quote"] or ""
    return f"{name}{found['between']}{quote}{HIDDEN}{quote}"


def _form(found: re.Match[str]) -> str:
    return f"{found['kind'] or ''}{HIDDEN}"
