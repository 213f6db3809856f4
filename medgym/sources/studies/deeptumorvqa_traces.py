"""Recorded uses of tools in DeepTumorVQA: conversations in which an agent asks tools, then answers.

They are published in the form of ShareGPT: turns of `human`, `function_call`, `observation` and
`gpt`. The tools (segmentation, measurement, a store of knowledge) are the authors' own.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.sources.studies.files import check_keys, read_json_lines


@dataclass(frozen=True)
class TracedCall:
    """A call and what came of it.

    Attributes:
        thought: what the agent wrote before it.
        result: what the tool said; None where the recording ends before.
    """

    name: str
    arguments: dict[str, Any]
    thought: str = ""
    result: str | None = None


@dataclass(frozen=True)
class ToolTrace:
    """One question, the calls in order, and the answer."""

    question: str
    calls: tuple[TracedCall, ...]
    answer: str
    system: str = ""


def read_traces(path: Path) -> Iterator[ToolTrace]:
    """The traces of a file, a line each.

    Raises:
        UserError: a line has another form; it is named.
    """
    for number, row in enumerate(read_json_lines(path), 1):
        place = f"line {number} of {path}"
        turns = check_keys(row, ("conversations",), place)["conversations"]
        yield _trace(turns, str(row.get("system") or ""), place)


def _trace(turns: Any, system: str, place: str) -> ToolTrace:
    question, answer = "", ""
    calls: list[TracedCall] = []
    for turn in turns if isinstance(turns, list) else ():
        who = check_keys(turn, ("from", "value"), place)["from"]
        said = str(turn["value"])
        if who == "system":
            system = said
        elif who == "human" and not question:
            question = said
        elif who == "function_call":
            calls += _calls(said, answer, place)
            answer = ""
        elif who == "observation" and calls and calls[-1].result is None:
            waiting = next(at for at, call in enumerate(calls) if call.result is None)
            call = calls[waiting]
            calls[waiting] = TracedCall(call.name, call.arguments, call.thought, said)
        elif who == "gpt":
            answer = said
        else:
            raise UserError(f"{place} has a turn of {who!r} out of place; fix: fetch it again")
    if not question or not answer:
        raise UserError(f"{place} has no question or no answer; fix: fetch it again")
    return ToolTrace(question, tuple(calls), answer, system)


def _calls(said: str, thought: str, place: str) -> list[TracedCall]:
    """The calls of a turn: one, or a list."""
    try:
        held = json.loads(said)
    except ValueError as error:
        raise UserError(f"{place} has a call that is no JSON; fix: fetch it again") from error
    made = []
    for each in held if isinstance(held, list) else [held]:
        check_keys(each, ("name", "arguments"), place)
        arguments = each["arguments"]
        made.append(
            TracedCall(str(each["name"]), arguments if isinstance(arguments, dict) else {}, thought)
        )
    return made
