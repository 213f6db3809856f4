"""A model's chat template, rendered in the environment in which transformers renders it."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from .files import NeedsTransformers, read_object


def read_template(folder: Path) -> str:
    """The chat template of a model's folder.

    Raises:
        NeedsTransformers: it has none, or several.
    """
    if (folder / "additional_chat_templates").exists():
        raise NeedsTransformers("it has several chat templates")
    if "chat_template" in read_object(folder / "processor_config.json"):
        raise NeedsTransformers("its chat template is in processor_config.json")
    try:
        return (folder / "chat_template.jinja").read_text("utf-8")
    except FileNotFoundError:
        found = read_object(folder / "chat_template.json").get("chat_template")
    except (OSError, ValueError) as error:
        raise NeedsTransformers("chat_template.jinja cannot be read") from error
    if not isinstance(found, str):
        raise NeedsTransformers("it has no file with a chat template")
    return found


class ChatTemplate:
    """A compiled chat template.

    Args:
        source: its text. names: variables that it may use, such as `eos_token`.
    """

    def __init__(self, source: str, names: Mapping[str, str]) -> None:
        self.source = source
        self._names = dict(names)
        self._render = _compiled(source)

    def __reduce__(self) -> tuple[type["ChatTemplate"], tuple[str, dict[str, str]]]:
        return ChatTemplate, (self.source, self._names)  # compiled code does not travel

    def __call__(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None, *, generate: bool
    ) -> str:
        """The messages as the template writes them."""
        return self._render(
            messages=messages,
            tools=tools,
            documents=None,
            add_generation_prompt=generate,
            **self._names,
        )


def _compiled(source: str) -> Callable[..., str]:
    """The function that renders a template.

    Raises:
        NeedsTransformers: jinja2 is missing or cannot read it.
    """
    try:
        from jinja2 import TemplateError, nodes
        from jinja2.ext import Extension, loopcontrols
        from jinja2.parser import Parser
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise NeedsTransformers("the library jinja2 is not installed") from error

    class Generation(Extension):
        """`{% generation %}...{% endgeneration %}`, which only says what the model wrote."""

        tags = {"generation"}  # noqa: RUF012 - as the library declares it

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def raise_exception(said: str) -> None:
        raise TemplateError(said)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = _json
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    try:
        return environment.from_string(source).render
    except TemplateError as error:
        raise NeedsTransformers("its chat template cannot be read") from error


def _json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As the filter `tojson` of chat templates: without escapes for HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )
