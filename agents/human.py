"""A person as a policy: `human` reads replies from the terminal.

People play an environment to understand it. A line is a reply as a model would write it, or a short
form: `zoom 0 120 300 380 560` calls a tool on a box of a view; `slice 0 axial 12`, or `slice 0 12`
in the plane of the view, shows another slice of a volume. Any other line is an answer.
"""

import re
from collections.abc import Sequence

from medgym.errors import RunError, UserError
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling

_SLICE = re.compile(r"slice (\d+)(?: ([a-z][a-z0-9 ]*?))? (\d+)")
_SHORT = re.compile(r"([a-z]\w*) (\d+)((?: \d+(?:\.\d+)?){4})")


class Human(Policy):
    """A person at the terminal."""

    spec = "human"

    @classmethod
    def from_spec(cls, rest: str, adapter: str | None) -> "Human":
        """`human`, with nothing after it."""
        if rest or adapter:
            raise UserError(
                f"human takes nothing after it, not {rest or adapter!r}; fix: write human"
            )
        return cls()

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The next line that is typed."""
        try:
            line = input("reply (A, zoom VIEW X0 Y0 X1 Y1, or slice VIEW PLANE INDEX): ").strip()
        except EOFError:
            raise RunError("the input ended before an answer; fix: type one") from None
        if short := _SHORT.fullmatch(line):
            box = [int(v) if v.isdigit() else float(v) for v in short[3].split()]
            return Reply(render_call(short[1], {"view": int(short[2]), "box": box}))
        if short := _SLICE.fullmatch(line):
            plane = {"plane": short[2]} if short[2] else {}
            return Reply(
                render_call("slice", {"view": int(short[1]), **plane, "index": int(short[3])})
            )
        return Reply(line if line.startswith("<") or not line else render_answer(line))
