"""Prompts to try: a small grammar from which candidates are drawn.

Who answers, how to look, how to think, how to answer, and worked examples; each part may be empty.
The first candidate is no prompt at all, so that the search can say that nothing helps. Formats and
examples are drawn for each model after Jeong et al. 2024 ("Medical adaptation of large language and
vision-language models: are we making progress?").
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medgym.cases import LETTERS, Case
from medgym.messages import render_answer

SLOTS: Mapping[str, tuple[str, ...]] = {
    "persona": (
        "",
        "You are an experienced radiologist.",
        "You are a careful physician who reads medical images.",
        "You are taking an examination in medical imaging.",
    ),
    "look": (
        "",
        "Look closely: use a tool before you answer.",
        "Use a tool only where the first view does not show enough.",
        "Describe to yourself what you see before you answer.",
    ),
    "think": (
        "",
        "Think step by step before you answer.",
        "Answer at once, without an explanation.",
        "Compare each option with what the images show, then choose.",
    ),
    "answer": (
        "",
        "Write your answer in <answer> tags and nothing after it.",
        "Always answer, even if you are not sure.",
        "If options are given, your answer is one letter.",
    ),
}
"""The parts of a prompt and what may stand there. `look` is left out where there are no tools."""

FRAMES = (
    ("Question: ", "Answer: ", "\n\n"),
    ("Q: ", "A: ", "\n"),
    ("### Question\n", "### Answer\n", "\n\n"),
)
"""What stands before the question of an example, before its answer, and between two examples."""

OPTION_MARKS = (("", ". "), ("(", ") "))
"""What stands before and after the letter of an option."""

MOST_EXAMPLE = 1_500
"""Characters of an example; a longer case is none."""

POOL = 500
"""Cases of which examples are drawn, the first of those that are given."""


@dataclass(frozen=True)
class Candidate:
    """A prompt to try.

    Attributes:
        number: in the order in which they were drawn; 0 is no prompt.
        prompt: the text; empty for the first one.
        choices: what stands in each slot, as far as anything does.
        examples: the ids of the cases that are worked examples in it.
    """

    number: int
    prompt: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    examples: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As the record holds it."""
        return {
            "number": self.number,
            "prompt": self.prompt,
            "choices": dict(self.choices),
            "examples": list(self.examples),
        }


def candidates(
    count: int, seed: int, *, tools: bool, examples: Sequence[Case] = (), shots: int = 0
) -> list[Candidate]:
    """No prompt, then prompts that differ, as many as asked or as the grammar has.

    Args:
        tools: whether the policy may use tools.
        examples: cases for worked examples. Their images are not in the prompt, which is text.
        shots: the most examples in a prompt.
    """
    rng = np.random.default_rng(seed)
    pool = [case for case in examples[:POOL] if _length(case) <= MOST_EXAMPLE]
    found = {"": Candidate(0)}
    for prompt, choices, used in _drawn(rng, tools, pool, min(shots, len(pool)), 50 * count):
        if len(found) >= count:
            break
        if prompt not in found:
            found[prompt] = Candidate(len(found), prompt, choices, used)
    return list(found.values())


def _drawn(
    rng: np.random.Generator, tools: bool, pool: Sequence[Case], shots: int, most: int
) -> Iterator[tuple[str, dict[str, str], tuple[str, ...]]]:
    for _ in range(most):
        choices = {}
        for slot, texts in SLOTS.items():
            text = texts[int(rng.integers(len(texts)))]
            if text and (tools or slot != "look"):
                choices[slot] = text
        parts = [" ".join(choices.values())] if choices else []
        used: tuple[str, ...] = ()
        count = int(rng.integers(shots + 1))
        if count:
            asks, answers, between = FRAMES[int(rng.integers(len(FRAMES)))]
            mark = OPTION_MARKS[int(rng.integers(len(OPTION_MARKS)))]
            picked = [pool[int(at)] for at in rng.choice(len(pool), count, replace=False)]
            worked = between.join(example(case, asks, answers, mark) for case in picked)
            parts.append(f"Examples, without their images:\n{worked}")
            used = tuple(case.id for case in picked)
        yield "\n\n".join(parts), choices, used


def example(case: Case, asks: str, answers: str, mark: tuple[str, str]) -> str:
    """A case with its answer, as text."""
    before, after = mark
    lines = [
        f"{before}{letter}{after}{text}\n"
        for letter, text in zip(LETTERS, case.options, strict=False)
    ]
    return f"{asks}{case.question}\n{''.join(lines)}{answers}{render_answer(given_answer(case))}"


def given_answer(case: Case) -> str:
    """The right answer as a policy gives it: an option's letter, else the text."""
    return LETTERS[case.options.index(case.answer)] if case.answer in case.options else case.answer


def _length(case: Case) -> int:
    return len(case.question) + len(case.answer) + sum(map(len, case.options))
