"""Arguments between tags: as Qwen3.5 (and Qwen3-Coder) write them, and as GLM does."""

import re
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

from medgym.messages import ToolCall

from .form import Schemas, ToolForm
from .values import value_of


class _Tagged(ToolForm):
    def read(self, body: str, schemas: Schemas) -> ToolCall:
        """See `ToolForm`."""
        name, pairs = self._parts(body)
        properties = schemas.get(name, {}).get("properties", {})
        arguments: dict[str, Any] = {}
        for key, text in pairs:
            if key in arguments:
                raise ValueError(f"the argument {key[:40]} stands twice")
            arguments[key] = value_of(text, properties.get(key))
        return ToolCall(name, arguments)

    @abstractmethod
    def _parts(self, body: str) -> tuple[str, Iterable[tuple[str, str]]]:
        """The tool's name, and the name and the text of each argument."""


class Functions(_Tagged):
    """`<tool_call>\\n<function=zoom>\\n<parameter=view>\\n0\\n</parameter>\\n</function>...`."""

    name: ClassVar[str] = "functions"
    marks: ClassVar[tuple[str, ...]] = ("<function=", "</function>", "<parameter=", "</parameter>")
    example: ClassVar[str] = (
        "<tool_call><function=TOOL><parameter=NAME>VALUE</parameter>...</function></tool_call>"
    )

    _WHOLE = re.compile(r"\s*<function=([^<>\n]+)>(.*)</function>\s*", re.DOTALL)
    _ONE = re.compile(r"\s*<parameter=([^<>\n]+)>\n?(.*?)\n?</parameter>", re.DOTALL)

    def _parts(self, body: str) -> tuple[str, Iterable[tuple[str, str]]]:
        whole = self._WHOLE.fullmatch(body)
        if whole is None:
            raise ValueError("it is no <function=TOOL>...</function>")
        return whole[1].strip(), _pairs(self._ONE, whole[2])


class Arguments(_Tagged):
    """`<tool_call>zoom\\n<arg_key>view</arg_key>\\n<arg_value>0</arg_value>\\n</tool_call>`."""

    name: ClassVar[str] = "arguments"
    marks: ClassVar[tuple[str, ...]] = ("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>")
    example: ClassVar[str] = (
        "<tool_call>TOOL<arg_key>NAME</arg_key><arg_value>VALUE</arg_value>...</tool_call>"
    )

    _WHOLE = re.compile(r"\s*([^<>{}\s][^<>{}\n]*)(.*)", re.DOTALL)
    _ONE = re.compile(r"\s*<arg_key>([^<>\n]+)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)

    def _parts(self, body: str) -> tuple[str, Iterable[tuple[str, str]]]:
        whole = self._WHOLE.fullmatch(body)
        if whole is None:
            raise ValueError("it does not begin with a tool's name")
        return whole[1].strip(), _pairs(self._ONE, whole[2])


def _pairs(one: re.Pattern[str], text: str) -> list[tuple[str, str]]:
    pairs, end = [], 0
    while found := one.match(text, end):
        pairs.append((found[1].strip(), found[2]))
        end = found.end()
    if text[end:].strip():
        raise ValueError("it holds something else than arguments")
    return pairs
