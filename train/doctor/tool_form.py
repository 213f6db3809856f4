"""The check of `medgym doctor` that says in which form a model writes more readable replies."""

from itertools import cycle, islice
from typing import cast, get_args

from medgym.errors import UserError
from medgym.messages import Malformed, Reply, parse_action
from medgym.policy import Sampling
from medgym.tool_form import ToolFormName

from .checks import Check
from .subject import Subject

REPLIES = 32
"""First replies in each form; fewer cases are asked again, with other seeds."""

SHORT = Sampling(max_tokens=96)
"""How they are sampled: a call has some eighty tokens where a digit is one."""

CLEAR = 0.1
"""Difference of the two shares from which the better form is named."""


def tool_form(subject: Subject) -> Check:
    """Share of first replies that hold a call or an answer, in medgym's form and in the family's.

    It never fails: a model that writes neither can learn either.
    """
    if not subject.rules.tools:
        return Check("tool form", "pass", {"native": "no tools are offered"})
    try:
        samplers = {
            form: subject.policy if form == subject.tool_form else subject.in_form(form)
            for form in cast("tuple[ToolFormName, ...]", get_args(ToolFormName))
        }
    except UserError as error:  # most templates without tools
        return Check("tool form", "pass", {"native": str(error).partition("; fix: ")[0]})
    openings = [subject.rules.begin(case).messages for case in subject.cases[:REPLIES]]
    asked = list(islice(cycle(openings), REPLIES))
    figure: dict[str, float | int | str] = {"replies": REPLIES}
    readable: dict[str, float] = {}
    for form, sampler in samplers.items():
        replies = subject.sample(asked, SHORT, sampler)
        readable[form] = sum(map(_readable, replies)) / len(replies)
        figure |= {form: readable[form]}
        figure |= {f"cut {form}": sum(reply.cut for reply in replies)}
    other = next(form for form in readable if form != subject.tool_form)
    if readable[other] < readable[subject.tool_form] + CLEAR:
        return Check("tool form", "pass", figure)
    return Check("tool form", "pass", figure, f'it writes the other form better: "{other}"')


def _readable(reply: Reply) -> bool:
    action = reply.malformed or parse_action(reply.text)
    return not isinstance(action, Malformed)
