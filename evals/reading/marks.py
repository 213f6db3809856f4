"""Where in a reply its final answer stands."""

import re
import unicodedata
from collections.abc import Iterator

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_CALL = re.compile(r"<tool_call>.*?(?:</tool_call>|\Z)", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL | re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_SAID = re.compile(
    r"(?:\bfinal\s+answer|\b(?:the|my)?(?:correct|right|best)?(?:answer|option|choice)"
    r"(?=[\"']?\s*(?:is\b|(?:must|should|would) be\b|:|=))|答案)"
    r"[\"']?\s*+(?:is\b|(?:must|should|would) be\b|是|为|=)?+\s*+:?+\s*+([^\n]+)",
    re.IGNORECASE,
)
_FENCE = re.compile(r"```[a-z]*\n?|\n?```", re.IGNORECASE)
_POWER = re.compile("(?<=\\d)(?=[\u00b9\u00b2\u00b3\u2070\u2074-\u2079])")
"""Between a digit and one above the line: 10\u00b2 is not 102."""
_TEXT = re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf))\s*\{([^{}]*)\}")
_QUOTES = " \t\n\"'`“”‘’!"


def characters(text: str) -> str:
    """A text in NFKC form, in which a power is not read as a longer number.

    What a reply is compared with has to be in this form too: `µ`, `²` and `，` are not in it.
    """
    return unicodedata.normalize("NFKC", _POWER.sub("^", text))


def bare(text: str) -> str:
    """A text in that form, without quotes around it, as a reply and a gold are compared."""
    return characters(text).strip().rstrip(".。").strip(_QUOTES)


def plain(text: str) -> str:
    """A reply without its thought, tool calls, code fences and emphasis, in NFKC form."""
    text = _FENCE.sub("", _CALL.sub("", _THOUGHT.sub("", characters(text))))
    return re.sub(r"\*\*|__|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)", "", text).strip()


def marked(reply: str) -> Iterator[str]:
    """What a reply marks as its answer, the last mark first.

    Marks are `<answer>...</answer>`, `\\boxed{...}`, and words such as "the answer is ..." up to
    the end of their line. The first kind that there is counts, and no other.
    """
    text = plain(reply)
    for mark in (_TAG, _BOXED, _SAID):
        found = [_TEXT.sub(r"\1", each).strip() for each in mark.findall(text)]
        if found:
            yield from reversed(found)
            return
