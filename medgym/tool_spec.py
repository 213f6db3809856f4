"""Tool specs: `NAME`, `NAME?key=value&key=value`, or `SCHEME:REST`, made into tools.

The options are the keyword parameters of the tool's `__init__`, each read as its annotation says.
A value that holds one of `, & ? "` stands in double quotes, in which a quotation mark is written
twice: `segment?model="a, b"`. Without quotes `%2C` is a comma, as in any spec. A scheme is one of
the registered `tool_sources`: a callable that makes the tools which the rest of the spec names.
"""

import inspect
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation

from medgym.errors import UserError, unknown
from medgym.failures import calling
from medgym.registry import load, names
from medgym.spec import encode_value, read_pairs, without_credentials

_QUOTED = re.compile(r'(?<=[=:])"((?:[^"]|"")*)"')
_SCHEME = re.compile(r"([A-Za-z][\w-]*):(.*)", re.DOTALL)


def split_tools(text: str) -> tuple[str, ...]:
    """The specs of a list with commas between them, as a command has it.

    Raises:
        UserError: one is empty, or a comma stands in a value without quotes.
    """
    held = _QUOTED.sub(lambda found: found[0].replace(",", "\0"), text)
    specs = tuple(part.replace("\0", ",").strip() for part in held.split(","))
    if "" in specs:
        raise UserError(f"--tools {text!r} names no tool; fix: write zoom,crop, or --no-tools")
    for before, spec in pairwise(specs):
        kind, name = plug_in_of(spec)
        if plug_in_of(before)[1] != before and kind == "tools" and name not in names("tools"):
            raise UserError(
                f"unknown tool {name!r} after {before!r}; fix: check its name, or, if the comma "
                'belongs to a value, put that in quotes: NAME?key="a,b"'
            )
    return specs


def plug_in_of(spec: str) -> tuple[str, str]:
    """What a spec names, as (kind, registered name)."""
    scheme = _SCHEME.fullmatch(spec)
    return ("tool_sources", scheme[1]) if scheme else ("tools", spec.partition("?")[0])


def tools_of(spec: object) -> tuple[Any, ...]:
    """The tools that a spec names, which `load_tools` then checks; what is no text, as it is.

    Raises:
        UserError: an unknown name, an unknown option or value (the nearest is named), or an option
            that the tool needs and the spec lacks.
    """
    if isinstance(spec, type):
        return (_made(spec.__name__, spec, {}),)
    if not isinstance(spec, str):
        return (spec,)
    kind, name = plug_in_of(spec)
    if kind == "tool_sources":
        rest = spec[len(name) + 1 :]
        quoted = _QUOTED.fullmatch(spec, len(name) + 1)
        rest = quoted[1].replace('""', '"') if quoted else rest
        source = load("tool_sources", name)
        with calling(f"the tool source {name!r}"):
            made = source(rest)
            found = tuple(made) if isinstance(made, Iterable) else (made,)
        if not found:
            raise UserError(
                f"{without_credentials(spec)} has no tools; fix: name a place that offers some"
            )
        return found
    registered = load("tools", name)
    options = _options(spec)
    if not isinstance(registered, type):
        if options:
            raise UserError(f"the tool {name} takes no options; fix: write {name}")
        return (registered,)
    return (_made(name, registered, options),)


def _options(spec: str) -> dict[str, str]:
    name, mark, query = spec.partition("?")
    if mark and not query:
        raise UserError(f"the tool {name} has no option after the ?; fix: write {name}?key=value")
    query = _QUOTED.sub(lambda found: encode_value(found[1].replace('""', '"')), query)
    if '="' in query:
        raise UserError(
            f"the tool {name} has a quotation mark that is not closed; fix: close it, and write "
            'one that is meant as ""'
        )
    return read_pairs(f"the tool {name}", query)


def _made(name: str, kind: type[Any], options: Mapping[str, str]) -> Any:
    """The tool of a class with the options of a spec."""
    with calling(f"the tool {kind.__name__}"):
        return kind(**_values(name, kind, options))


_ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _values(name: str, kind: type[Any], options: Mapping[str, str]) -> dict[str, Any]:
    try:
        taken = dict(inspect.signature(kind).parameters)
    except ValueError:  # a class of Python's own, which is no tool
        taken = {}
    named = {key: each for key, each in taken.items() if each.kind not in _ANY}
    if not any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        for option in options:
            if option not in named:
                if not named:
                    raise UserError(f"the tool {name} takes no options; fix: write {name}")
                raise unknown(f"option of the tool {name}", option, named)
    for key, each in named.items():
        if each.default is each.empty and key not in options:
            raise UserError(
                f"the tool {name} needs the option {key}; fix: write {name}?{key}=VALUE"
            )
    hints = get_type_hints(kind.__init__, include_extras=True)
    return {key: _read(name, key, text, hints.get(key, str)) for key, text in options.items()}


def _read(name: str, key: str, text: str, annotation: Any) -> Any:
    """A value as its annotation says; a text, where that is no type of data."""
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation):
        return text
    try:
        return adapter.validate_strings(text)
    except ValidationError as error:
        choices = _choices(annotation)
        if choices:
            raise unknown(f"{key} of the tool {name}", text, choices) from None
        said = error.errors(include_url=False)[0]["msg"]
        raise UserError(
            f"the tool {name}: {key}={text!r}: {said[:1].lower()}{said[1:]}; fix: write another "
            "value"
        ) from None


def _choices(annotation: Any) -> list[str]:
    """The texts that an annotation allows, where it names them."""
    if get_origin(annotation) is Literal:
        return [each for each in get_args(annotation) if isinstance(each, str)]
    return [choice for each in get_args(annotation) for choice in _choices(each)]
