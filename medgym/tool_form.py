"""How a model is offered tools and calls them: `[tools] form`, and `?tool_form=` in a spec.

With `text` the system message lists the tools, and calls are written as `medgym.messages` has them.
With `native` the model's own chat template lists the tools, and calls are in its family's form.
"""

from typing import Literal, cast, get_args

from medgym.errors import unknown
from medgym.spec import take_option, with_option

ToolFormName = Literal["text", "native"]
"""The form of a model's tools and calls."""

OPTION = "tool_form"
"""The option of a policy with a model."""


def take_tool_form(what: str, rest: str) -> tuple[str, ToolFormName]:
    """What follows a scheme without the option, and the form that it names; `text` by default.

    Raises:
        UserError: there is no such form.
    """
    rest, value = take_option(what, rest, OPTION)
    return rest, tool_form_of(what, value or "text")


def in_tool_form(spec: str, form: ToolFormName) -> str:
    """A policy's spec with this form; without an option for `text`, which is the default.

    Raises:
        UserError: as `with_option` raises it.
    """
    return with_option(spec, OPTION, None if form == "text" else form)


def tool_form_of(what: str, value: str) -> ToolFormName:
    """A form by its name.

    Raises:
        UserError: there is no such form.
    """
    known: tuple[str, ...] = get_args(ToolFormName)
    if value not in known:
        raise unknown(f"tool_form of {what}", value, known)
    return cast("ToolFormName", value)
