"""A system prompt of one's own: `medgym eval --prompt FILE|TEXT`.

It stands before medgym's own instructions. Without those a model could not know the tools, nor how
to answer so that the answer is found.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from medgym.consultation.team import Team
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.messages import MAX_TEXT
from medgym.policy import Policy


def read_prompt(given: str) -> str:
    """The text of a file, or the text itself.

    Raises:
        UserError: it is one word, as a file's name is, and there is no such file; or the file is
            empty or no text.
    """
    path = Path(given)
    try:
        is_file = path.is_file()
    except (OSError, ValueError):  # too long for a name
        is_file = False
    if not is_file:
        if len(given.split()) < 2:
            raise UserError(
                f"there is no file {given!r} with a prompt; fix: name one that is there, or write "
                "the prompt itself, of more than one word"
            )
        return given.strip()
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the prompt in {path} cannot be read ({error}); fix: check it") from error
    if not text:
        raise UserError(f"the prompt in {path} is empty; fix: write one, or omit --prompt")
    return text


def prompted(rules: Rules, prompt: str) -> Rules:
    """Rules with a prompt before the instructions.

    Raises:
        UserError: together they are too long for a message.
    """
    made = replace(rules, prompt=prompt)
    if len(made.instructions) >= MAX_TEXT:
        raise UserError(
            f"the prompt and the instructions have over {MAX_TEXT} characters; fix: shorten the "
            "prompt"
        )
    return made


def refuse_team(policy: Policy) -> None:
    """`UserError` for a consultation, whose roles have prompts of their own."""
    if isinstance(policy, Team):
        raise UserError(
            "each role of a consultation has a prompt in its recipe; fix: omit --prompt, and write "
            "it there"
        )


def refuse_other_prompts(first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    """Refuse to compare runs of which both the prompt and the policy differ.

    Args:
        first, second: what was asked of each run.

    Raises:
        UserError: the difference could be of either.
    """
    same_prompt = (first.get("prompt") or "") == (second.get("prompt") or "")
    if same_prompt or first.get("policy") == second.get("policy"):
        return
    raise UserError(
        "the two runs differ in their policy and in their prompt, so that a difference could be of "
        "either; fix: evaluate both with the same --prompt, or add --own-prompts where each policy "
        "is meant to have its own"
    )
