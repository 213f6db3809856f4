"""Gemma's form, of version 4 on: `<|tool_call>call:zoom{box:[1,2,3,4],view:0}<tool_call|>`."""

import re
from typing import Any, ClassVar, NoReturn

from medgym.messages import ToolCall, strict_json

from .form import Schemas, ToolForm

_QUOTE = '<|"|>'
_SCALAR = re.compile(r"[^,{}\[\]<>\s]+")
_KEY = re.compile(r"[^:,{}\[\]<>\s][^:,{}\[\]<>\n]*")
_SPACE = re.compile(r"\s*")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "None": None}


class Gemma(ToolForm):
    """Keys without quotes, texts between `<|"|>`, all else as JSON has it."""

    name: ClassVar[str] = "gemma"
    begin: ClassVar[str] = "<|tool_call>"
    end: ClassVar[str] = "<tool_call|>"
    marks: ClassVar[tuple[str, ...]] = (_QUOTE,)
    example: ClassVar[str] = '<|tool_call>call:TOOL{NAME:VALUE,NAME:<|"|>TEXT<|"|>}<tool_call|>'

    def read(self, body: str, schemas: Schemas) -> ToolCall:
        """See `ToolForm`."""
        found = re.fullmatch(r"\s*call:([^\s{}<>]+)\s*(\{.*\})\s*", body, re.DOTALL)
        if found is None:
            raise ValueError("it is no call:TOOL{...}")
        reader = _Reader(found[2])
        arguments = reader.value()
        reader.finish()
        assert isinstance(arguments, dict), "it begins with a brace"
        return ToolCall(found[1], arguments)


class _Reader:
    """Reads one value from the left to the right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def value(self) -> Any:
        """The value at this place."""
        if self._takes("{"):
            return self._object()
        if self._takes("["):
            return self._list()
        if self._takes(_QUOTE):
            return self._quoted()
        word = self._match(_SCALAR)
        return _WORDS[word] if word in _WORDS else strict_json(word)

    def finish(self) -> None:
        """Insist on the end of the text."""
        self._skip()
        if self._at < len(self._text):
            self._fail("the end")

    def _object(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        while not self._takes("}"):
            if made and not self._takes(","):
                self._fail("a comma or a brace")
            key = self._quoted() if self._takes(_QUOTE) else self._match(_KEY)
            if key in made:
                raise ValueError(f"the key {key[:40]} stands twice")
            if not self._takes(":"):
                self._fail("a colon")
            made[key] = self.value()
        return made

    def _list(self) -> list[Any]:
        made: list[Any] = []
        while not self._takes("]"):
            if made and not self._takes(","):
                self._fail("a comma or a bracket")
            made.append(self.value())
        return made

    def _quoted(self) -> str:
        end = self._text.find(_QUOTE, self._at)
        if end < 0:
            self._fail("the end of a text")
        text = self._text[self._at : end]
        self._at = end + len(_QUOTE)
        return text

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        assert found is not None, "it matches nothing, too"
        self._at = found.end()

    def _takes(self, mark: str) -> bool:
        self._skip()
        taken = self._text.startswith(mark, self._at)
        self._at += len(mark) if taken else 0
        return taken

    def _match(self, pattern: re.Pattern[str]) -> str:
        self._skip()
        found = pattern.match(self._text, self._at)
        if found is None:
            self._fail("a value")
        self._at = found.end()
        return found[0]

    def _fail(self, expected: str) -> NoReturn:
        raise ValueError(f"expected {expected} at character {self._at}")
