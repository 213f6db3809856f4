"""A person as a policy: `human` reads replies from the terminal.

People play an environment to understand it. A line is a reply as a model would write it, or a short
form: `zoom 0 120 300 380 560` calls a tool on a box of a view. Where there are the tools `slice`
and `window`, `slice 0 axial 12` shows a slice, `slice 1 12` another one in the plane of view 1, and
`window 1 40 400` or `window 1 lung` another window. Any other line is an answer, but for one that
begins with the name of an offered tool: that is a call with a slip in it, and is asked for again.
"""

import re
import sys
from collections.abc import Mapping, Sequence

from medgym.errors import RunError, UserError
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling

_SHORT = re.compile(r"([a-z]\w*) (\d+)((?: \d+(?:\.\d+)?){4})")
_Form = tuple[str, re.Pattern[str]]
_FORMS: dict[str, _Form] = {
    "slice": (
        "slice VIEW PLANE INDEX",
        re.compile(r"slice (?P<view>\d+)(?: (?P<plane>\D\S*))? (?P<index>\d+)"),
    ),
    "window": (
        "window VIEW CENTRE WIDTH",
        re.compile(
            r"window (?P<view>\d+) "
            r"(?:(?P<centre>-?\d+(?:\.\d+)?) (?P<width>\d+(?:\.\d+)?)|(?P<preset>[a-z ]+))"
        ),
    ),
}
"""How some tools are called in short: as a person reads it, and as it is read."""


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
        """The next line that is typed and is no call with a slip in it."""
        told = conversation[0].text if conversation else ""
        forms = {tool: each for tool, each in _FORMS.items() if f'{{"name": "{tool}"' in told}
        more = "".join(f", or {shown}" for shown, _ in forms.values())
        while True:
            try:
                line = input(f"reply (A, or zoom VIEW X0 Y0 X1 Y1{more}): ").strip()
            except EOFError:
                raise RunError("the input ended before an answer; fix: type one") from None
            reply = _reply(" ".join(line.split()), forms)
            word = line.partition(" ")[0]
            if reply is not None or f'{{"name": "{word}"' not in told:
                return reply or Reply(
                    line if line.startswith("<") or not line else render_answer(line)
                )
            shown = forms[word][0] if word in forms else f"{word} VIEW X0 Y0 X1 Y1"
            print(
                f"this is no call of {word}; write {shown}, or a whole <tool_call>, or to answer "
                f"with these words <answer>{line}</answer>",
                file=sys.stderr,
            )


def _reply(line: str, forms: Mapping[str, _Form]) -> Reply | None:
    """The call that a line is the short form of; None where it is none."""
    if short := _SHORT.fullmatch(line):
        box = [int(v) if v.isdigit() else float(v) for v in short[3].split()]
        return Reply(render_call(short[1], {"view": int(short[2]), "box": box}))
    for tool, (_, form) in forms.items():
        if short := form.fullmatch(line):
            given = {name: value for name, value in short.groupdict().items() if value}
            return Reply(render_call(tool, {k: _argument(k, v) for k, v in given.items()}))
    return None


def _argument(name: str, text: str) -> int | float | str:
    if name in ("view", "index"):
        return int(text)
    return float(text) if name in ("centre", "width") else text
