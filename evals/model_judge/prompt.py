"""The pinned prompts of a judge, and the one way in which its replies are read.

A prompt is a file of this package. Its name ends in its version, and results hold its hash: another
wording is another prompt. What is judged stands in the prompt as JSON, so that no text in it can
end the data: line ends and quotation marks are escaped, and so is whatever a chat template could
take for one of its own marks.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from medgym.case import LETTERS, normalised
from medgym.messages import THOUGHT_TAGS, Message, message, thought_of

ANSWER, MEDIHALL = "answer-1", "medihall-1"

LABELS: Mapping[str, tuple[str, ...]] = {
    ANSWER: ("right", "partly", "wrong"),
    MEDIHALL: ("catastrophic", "critical", "attribute", "prompt-induced", "minor", "correct"),
}
"""What a judge may say by each prompt."""

_MARK = re.compile(r"\[(?=/?[A-Z_]+\])")
_ANSWER = re.compile(r"<answer>([^<]*)</answer>")


@dataclass(frozen=True)
class JudgePrompt:
    """A pinned prompt.

    Attributes:
        name: with its version, such as `answer-1`.
        text: the instructions. labels: what the judge may say.
    """

    name: str
    text: str
    labels: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """The hash of all that the prompt says."""
        whole = "\0".join((self.text, *self.labels))
        return hashlib.sha256(whole.encode()).hexdigest()

    def conversation(self, data: Mapping[str, object]) -> tuple[Message, ...]:
        """What a judge is asked about some data."""
        offered = "\n".join(
            f"{letter}. {label}" for letter, label in zip(LETTERS, self.labels, strict=False)
        )
        asked = f"{as_data(data)}\nOptions:\n{offered}"
        return message("system", self.text), message("user", asked)

    def label_of(self, reply: str) -> str | None:
        """The label that a reply gives; None where it gives none.

        The whole reply is one label or its letter, after an optional thought, whose first tag the
        template may have written. It may stand between `<answer>` and `</answer>`; case, emphasis
        and a full stop do not count.
        """
        text = reply[len(thought_of(reply)) :]
        for _, end in THOUGHT_TAGS:
            text = text.rpartition(end)[2]
        text = text.strip()
        found = _ANSWER.fullmatch(text)
        said = normalised(found[1] if found else text).strip("*`\"' ").rstrip(".")
        named = dict(zip(LETTERS.casefold(), self.labels, strict=False))
        return named.get(said, said if said in self.labels else None)


def as_data(data: Mapping[str, object]) -> str:
    """JSON in one line, in which no text can be taken for a mark of a chat template or for medgym's
    own tags."""
    text = json.dumps(data, ensure_ascii=False)
    for mark in "<>\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return _MARK.sub(r"\\u005b", text)


@cache
def judge_prompt(name: str) -> JudgePrompt:
    """The prompt of a name: `answer-1` or `medihall-1`."""
    place = files("medgym.evals.model_judge") / "prompts" / f"{name}.txt"
    return JudgePrompt(name, place.read_text(encoding="utf-8").strip(), LABELS[name])


def data_of(
    question: str, options: Sequence[str], references: Sequence[str], **judged: str
) -> dict[str, object]:
    """The data of a request: what was asked, what is right, and what is judged, under its name."""
    offered = {"options": list(options)} if options else {}
    return {"question": question, **offered, "references": list(references), **judged}
