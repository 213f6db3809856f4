"""The option `tool_form` of a policy's spec: `hf:PATH?tool_form=native`."""

from typing import cast, get_args

from medgym.errors import unknown
from medgym.messages import ToolFormName
from medgym.spec import take_option

OPTION = "tool_form"


def take_tool_form(what: str, rest: str) -> tuple[str, ToolFormName]:
    """What follows a scheme without the option, and the form that it names; `text` by default.

    Raises:
        UserError: there is no such form.
    """
    rest, value = take_option(what, rest, OPTION)
    return rest, tool_form_of(what, value or "text")


def tool_form_of(what: str, value: str) -> ToolFormName:
    """A form by its name.

    Raises:
        UserError: there is no such form.
    """
    known: tuple[str, ...] = get_args(ToolFormName)
    if value not in known:
        raise unknown(f"tool_form of {what}", value, known)
    return cast("ToolFormName", value)
