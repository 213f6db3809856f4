"""The verdict that all sides give: of the one answer in its tag, wherever that stands in a reply.

An evaluation of medgym reads more strictly: an answer inside a broken tool call is none. The sides
are scripts, so this imports nothing of medgym.
"""

import re
from collections.abc import Collection

_ANSWER = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL)


def is_right(reply: str, accepted: Collection[str]) -> bool:
    """Whether a reply has one answer, and that is accepted."""
    said = _ANSWER.findall(reply)
    return len(said) == 1 and said[0] in accepted
