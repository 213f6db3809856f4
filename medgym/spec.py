"""Specs: the texts by which commands and recipes name policies, rubrics and sources.

A policy is written as

    SCHEME:NAME
    SCHEME:NAME?key=value&key=value
    SCHEME:NAME?adapter=PATH
    SCHEME:NAME@PATH                 the same, in short

and whatever has no path in its name (scripted policies, rubrics, sources) as `NAME,key=value,...`.
In a value `%2C` is a comma, `%26` an ampersand and `%25` a percent sign, as in any URL.

A spec is read by its text only, never by which files exist: it means the same on every machine. The
option `adapter` names the adapter, and then no `@` has a meaning; an empty one (`?adapter=`) says
that there is none. Without that option the `@`s are counted. In a URL only those after its first
`#` count, and one that begins a name never counts:

- no `@`: there is no adapter;
- one `@`: the adapter follows it, up to the end or to the `?` of options;
- more: the spec is refused, since any of them could belong to a path. `?adapter=PATH` says it.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from medgym.errors import UserError, unknown

ADAPTER = "adapter"
"""The option of a policy that names its adapter."""

_URL = re.compile(r"(?:^|:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_CREDENTIALS = re.compile(
    r"(?<=://)(?:"
    # Where a user and a password belong.
    r"[^/?#\s\"']*@"
    # With a / or # in the password: what follows the first colon is then no port.
    r"|[^/?#\s\"'@:\[\]]+:(?!\d{0,5}(?:[/?#\s\"']|$))[^\s\"']*@"
    # The same after digits: an @ in front of a later # names no adapter.
    r"|[^/?#\s\"'@:\[\]]+:\d{0,5}#[^\s\"']*@(?=[^\s\"'@]*#)"
    r")"
)
_WITHOUT_SCHEME = re.compile(r"(?<=:)[^/@\s\"']+:[^@\s\"']+@")
_RESERVED = re.compile(r"[%&#?,:@\[\]]")


def split_spec(spec: str) -> tuple[str, str, str | None]:
    """A policy's spec as (scheme, rest, adapter); `write_spec` puts them together again.

    Raises:
        UserError: as in `split_adapter`.
    """
    scheme, _, rest = spec.partition(":")
    return (scheme, *split_adapter(rest))


def split_adapter(rest: str) -> tuple[str, str | None]:
    """What follows a policy's scheme as (name with its other options, adapter).

    The adapter is None where there is none, and empty where an `@` has nothing after it. The
    module says how the adapter is found.

    Raises:
        UserError: several `@`s, or several options, could name the adapter.
    """
    name, query, model = _taken_apart(rest)
    options = query.split("&")
    named = [option for option in options if option.partition("=")[0] == ADAPTER]
    if len(named) > 1:
        raise UserError(f"{_shown(rest)} names its adapter twice; fix: name it once")
    if named:
        others = "&".join(option for option in options if option is not named[0])
        return _joined(name, others, model), unquote(named[0].partition("=")[2]) or None
    places = (model[2:],) if _is_url(rest) else (name[1:], query)
    marks = sum(place.count("@") for place in places)
    if marks > 1:
        raise UserError(
            f"cannot tell which @ of {_shown(rest)} names the adapter; fix: write ?adapter=PATH, "
            "or ?adapter= where there is none"
        )
    if not marks:
        return _joined(name, query, model), None
    if _is_url(rest):
        model, _, adapter = model.rpartition("@")
    elif "@" in query:
        query, _, adapter = query.partition("@")
    else:
        name, _, adapter = name.rpartition("@")
    return _joined(name, query, model), adapter


def write_spec(scheme: str, rest: str, adapter: str | None = None) -> str:
    """The shortest spec that `split_spec` reads as these parts.

    Raises:
        UserError: the adapter has no name, or `rest` names one as well.
    """
    name, query, model = _taken_apart(rest)
    wanted = (_joined(name, query, model), adapter)
    option = f"{ADAPTER}={encode_value(adapter or '')}"
    for text in (
        wanted[0] if adapter is None else f"{wanted[0]}@{adapter}",
        _joined(name, f"{query}&{option}" if query else option, model),
    ):
        try:
            if split_adapter(text) == wanted and adapter != "":
                return f"{scheme}:{text}" if text else scheme
        except UserError:  # several @s
            continue
    raise UserError(f"no spec can name the adapter {adapter!r} of {_shown(rest)}; fix: name one")


def with_adapter(spec: str, adapter: str) -> str:
    """A policy's spec with this adapter in place of its own, if it has one.

    Raises:
        UserError: as in `split_spec` and `write_spec`.
    """
    scheme, rest, _ = split_spec(spec)
    return write_spec(scheme, rest, adapter)


def take_option(what: str, rest: str, key: str) -> tuple[str, str | None]:
    """What follows a policy's scheme without one of its options, and that option's value.

    The value is None where the option is not given.

    Raises:
        UserError: it is given twice, or without a value.
    """
    name, query, model = _taken_apart(rest)
    pairs = query.split("&")
    named = [pair for pair in pairs if pair.partition("=")[0] == key]
    if not named:
        return rest, None
    value = read_pairs(what, "&".join(named))[key]
    others = "&".join(pair for pair in pairs if pair not in named)
    return _joined(name, others, model), value


def with_option(spec: str, key: str, value: str | None) -> str:
    """A policy's spec with this option in place of its own, if it has one; None takes it away.

    Raises:
        UserError: as in `split_spec`, `take_option` and `write_spec`.
    """
    scheme, rest, adapter = split_spec(spec)
    rest, _ = take_option(scheme, rest, key)
    if value is None:
        return write_spec(scheme, rest, adapter)
    name, query, model = _taken_apart(rest)
    option = f"{key}={encode_value(value)}"
    return write_spec(
        scheme, _joined(name, f"{query}&{option}" if query else option, model), adapter
    )


def fill_spec(spec: str, **values: object) -> str:
    """A policy's spec in which `{key}` is replaced by the value of that name.

    It is taken apart first, so that an `@` in a value (the path of a run) never names an adapter.

    Raises:
        UserError: as in `split_spec` and `write_spec`.
    """
    if not any(f"{{{key}}}" in spec for key in values):
        return spec
    scheme, rest, adapter = split_spec(spec)
    for key, value in values.items():
        mark, text = f"{{{key}}}", str(value)
        name, query, model = _taken_apart(rest)
        query = query.replace(mark, encode_value(text))
        rest = _joined(name.replace(mark, text), query, model.replace(mark, text))
        adapter = adapter and adapter.replace(mark, text)
    return write_spec(scheme, rest, adapter)


def without_credentials(text: str) -> str:
    """A spec, or any text that holds some, without the user and the password of its URLs."""
    return _CREDENTIALS.sub("", text)


def read_options(
    what: str, text: str, kinds: Mapping[str, Callable[[str], Any]], separator: str = "&"
) -> dict[str, Any]:
    """`key=value` pairs as values of the given kinds.

    Args:
        what: what has these options, for errors: `the rubric grounded`.
        text: the pairs, without what stands before the first.
        kinds: what reads the value of each known key: `int`, `float`, `str`, `flag`.
        separator: `&` after a `?`, `,` after a plain name.

    Raises:
        UserError: an unknown key (the nearest one is named), one that is given twice or has no
            value, or a value of another kind.
    """
    values: dict[str, Any] = {}
    for key, value in read_pairs(what, text, separator).items():
        if key not in kinds:
            raise unknown(f"option of {what}", key, kinds)
        kind = kinds[key]
        try:
            values[key] = kind(value)
        except ValueError:
            said = _KINDS.get(kind, f"of the kind {getattr(kind, '__name__', kind)}")
            raise UserError(f"{what}: {key}={value!r} is not {said}; fix: write one") from None
    return values


def read_pairs(what: str, text: str, separator: str = "&") -> dict[str, str]:
    """`key=value` pairs as they are written, with `%XX` decoded in the values.

    Raises:
        UserError: a pair without a key, a key that is given twice or has no value.
    """
    values: dict[str, str] = {}
    for pair in text.split(separator) if text else ():
        key, _, value = pair.partition("=")
        if not key:
            raise UserError(f"{what}: {text!r} has an option without a name; fix: write key=value")
        if key in values:
            raise UserError(f"{what}: {key} is given twice; fix: give it once")
        if not value:
            raise UserError(f"{what}: {key} has no value; fix: write {key}=VALUE")
        values[key] = unquote(value)
    return values


def kinds_of(make: Callable[..., object]) -> dict[str, Callable[[str], Any]]:
    """The options that a function or a class takes, each read as the kind of its default."""
    parameters = inspect.signature(make).parameters.values()
    return {
        each.name: _READERS.get(type(each.default), str)
        for each in parameters
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD, each.POSITIONAL_ONLY)
    }


def made_with(name: str, make: Callable[..., Any], options: Mapping[str, str]) -> Any:
    """What a class makes of the options of a spec, each as text.

    Args:
        name: what errors call it, such as `slake`.
        make: the class.
        options: as the spec has them.

    Raises:
        UserError: the class takes no option of that name (the nearest one is named), or one that it
            needs is not given.
    """
    taken = inspect.signature(make).parameters.values()
    named = [each for each in taken if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    if not any(each.kind is each.VAR_KEYWORD for each in taken):
        for option in options:
            if option not in {each.name for each in named}:
                raise unknown(f"option of {name}", option, (each.name for each in named))
    for each in named:
        if each.default is each.empty and each.name not in options:
            raise UserError(
                f"{name} needs the option {each.name}; fix: write {name},{each.name}=VALUE"
            )
    return make(**options)


def flag(text: str) -> bool:
    """`true` or `false`; `ValueError` for anything else."""
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def encode_value(text: str) -> str:
    """A value as any spec may hold it: what has a meaning in specs is written `%XX`."""
    return _RESERVED.sub(lambda found: f"%{ord(found[0]):02X}", text)


_KINDS: dict[Callable[[str], Any], str] = {
    int: "a whole number",
    float: "a number",
    flag: "true or false",
}
_READERS: dict[type, Callable[[str], Any]] = {int: int, float: float, bool: flag}


def _is_url(rest: str) -> bool:
    return _URL.search(rest) is not None


def _taken_apart(rest: str) -> tuple[str, str, str]:
    """(name, options, model): `NAME?OPTIONS`, or in a URL `NAME?OPTIONS#MODEL`.

    The model keeps its `#`.
    """
    place = rest.find("#") if _is_url(rest) else -1
    before, model = (rest, "") if place < 0 else (rest[:place], rest[place:])
    name, _, query = before.partition("?")
    return name, query, model


def _joined(name: str, query: str, model: str) -> str:
    return f"{name}?{query}{model}" if query else name + model


def shown(spec: str) -> str:
    """A spec that could not be read, as an error shows it: it may hold a password anywhere."""
    return _WITHOUT_SCHEME.sub("", without_credentials(spec))


def _shown(rest: str) -> str:
    return repr(shown(f":{rest}")[1:])
