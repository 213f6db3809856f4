"""A reply as bytes, and back, with all that its policy keeps of it."""

import math
from collections.abc import Iterator

from pydantic import TypeAdapter

from medgym.messages import Reply

_adapters: dict[str, TypeAdapter[Reply]] = {}
"""What reads and writes each class of replies, by its name."""


def encoded(reply: Reply) -> bytes:
    """A reply as JSON.

    Raises:
        ValueError: JSON cannot hold it, such as a log-probability that is infinite.
    """
    if not all(map(math.isfinite, reply.logprobs or ())):
        raise ValueError("a log-probability is not finite")
    return _adapter(type(reply)).dump_json(reply)


def decoded(kind: str, data: bytes) -> Reply:
    """The reply whose kind and JSON these are.

    Raises:
        ValueError: there is no such kind of replies here, or this is none.
    """
    for each in _kinds(Reply):
        if kind_of(each) == kind:
            return _adapter(each).validate_json(data)
    raise ValueError(f"no policy here gives replies of the kind {kind}")


def kind_of(kind: type[Reply]) -> str:
    """The name of a class of replies."""
    return f"{kind.__module__}:{kind.__qualname__}"


def _kinds(kind: type[Reply]) -> Iterator[type[Reply]]:
    """A class of replies, and all classes below it that are known here."""
    yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)


def _adapter(kind: type[Reply]) -> TypeAdapter[Reply]:
    name = kind_of(kind)
    if name not in _adapters:
        _adapters[name] = TypeAdapter(kind)
    return _adapters[name]
