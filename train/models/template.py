"""`[rollout] chat_template_kwargs`: switches of a chat template, such as `enable_thinking`.

They are written into the template itself, which the run's models are saved with. So all that render
for one of them (this process, vLLM's engine, a server, a later evaluation) render alike.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from medgym.errors import UserError

if TYPE_CHECKING:
    from transformers import ProcessorMixin

_TAKEN = ("messages", "tools", "documents", "add_generation_prompt")
"""What a template is given by the code that renders."""


def switched(options: Mapping[str, object]) -> "Callable[[ProcessorMixin], None]":
    """What sets a processor's chat template to some options.

    It raises `UserError` where the template does not read an option, which then would do nothing.
    """

    def switch(processor: "ProcessorMixin") -> None:
        template = getattr(processor, "chat_template", None)
        if not options or not isinstance(template, str):
            return
        for name in options:
            if name in _TAKEN or not re.search(rf"\b{re.escape(name)}\b", template):
                raise UserError(
                    f"the model's chat template has no option {name!r}; fix: remove it from "
                    "[rollout] chat_template_kwargs"
                )
        made = "".join(f"{{% set {n} = {_literal(value)} %}}" for n, value in options.items())
        processor.chat_template = made + template
        tokenizer: Any = getattr(processor, "tokenizer", None)
        if getattr(tokenizer, "chat_template", None) is not None:
            tokenizer.chat_template = made + template

    return switch


def _literal(value: object) -> str:
    """A value of TOML as Jinja has it."""
    return json.dumps(value, ensure_ascii=False)
