"""The value of an argument that a form writes as plain text, such as `7` or `left lung`."""

from collections.abc import Iterator, Mapping
from typing import Any

from medgym.messages import strict_json

_WORDS: dict[str, bool | None] = {"True": True, "False": False, "None": None}
"""What templates write where they print a value as Python does."""

_KINDS: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def value_of(text: str, schema: Mapping[str, Any] | None) -> Any:
    """The value that a text stands for, by the JSON schema of its parameter.

    A text that is no value of the schema's types stays a text, and the tool then says what it
    expected. Without a schema it is JSON where it can be.
    """
    kinds = set(_types(schema)) if schema is not None else set()
    if kinds == {"string"}:
        return text
    try:
        value = _WORDS[text.strip()] if text.strip() in _WORDS else strict_json(text)
    except (ValueError, RecursionError):
        return text
    if "string" in kinds and not any(type(value) in _KINDS[kind] for kind in kinds - {"string"}):
        return text
    return value


def _types(schema: Mapping[str, Any]) -> Iterator[str]:
    said = schema.get("type")
    yield from [said] if isinstance(said, str) else said or ()
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _types(choice)
    allowed = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())]
    if said is None and allowed and all(isinstance(each, str) for each in allowed):
        yield "string"
