"""The same looking with other last words: an episode whose final reply names another finding."""

import re
from dataclasses import replace

from medgym.cases import LETTERS, Case, normalised, option_of
from medgym.errors import UserError
from medgym.local_model import LocalModel
from medgym.messages import Final, parse_action, thought_of
from medgym.metrics.recorded_tokens import read_nodes
from medgym.scorer import grade
from medgym.trajectory import Trajectory

from .builder import PairSource

_ANSWER = re.compile(r"<answer>.*?</answer>", re.DOTALL)

YES_NO = ("yes", "no")


def student_of(name: str, source: PairSource) -> LocalModel:
    """The policy whose tokens the builder of that name writes.

    Raises:
        UserError: no model is known.
    """
    if source.student is None:
        raise UserError(
            f"{name} puts words into tokens, and no model is known; fix: name the one that learns"
        )
    return source.student()


def wrong_options(case: Case) -> tuple[str, ...]:
    """The answers that a case offers besides the right ones; of yes and no, the other one."""
    offered = case.options
    if not offered and normalised(case.answer) in YES_NO:
        offered = YES_NO
    right = {normalised(gold) for gold in case.golds}
    return tuple(each for each in offered if normalised(each) not in right)


def last_words(trajectory: Trajectory) -> str:
    """The text of the policy's last reply."""
    return read_nodes(trajectory)[-1].text


def reworded(text: str, case: Case, wrong: str) -> str | None:
    """A right final reply that names another finding: in its answer, and wherever it names it.

    An answer by letter stays one. None for a reply that is no answer.
    """
    action = parse_action(text)
    if not isinstance(action, Final):
        return None
    answer = wrong
    by_letter = option_of(action.answer, case.options) is not None and normalised(
        action.answer
    ) not in map(normalised, case.options)
    if by_letter and wrong in case.options:
        answer = LETTERS[case.options.index(wrong)]
    thought = thought_of(text)
    named = re.compile(rf"(?<!\w){re.escape(case.answer)}(?!\w)", re.IGNORECASE)
    told = named.sub(lambda _: wrong, thought) if case.answer else thought
    rest = _ANSWER.sub(lambda _: f"<answer>{answer}</answer>", text[len(thought) :])
    return told + rest


def with_last_words(
    trajectory: Trajectory, case: Case, text: str, student: LocalModel
) -> Trajectory | None:
    """The episode with another final reply, in the tokens of the model that learns.

    Everything before it stays as it was, token for token. None where the text is no answer, or is
    the right one. Nobody played it so: it is a demonstration, and has earned nothing.

    Raises:
        UserError: the model has another tokenizer than the one that played the episode.
    """
    if student.vision_token_ids != trajectory.vision_token_ids:
        raise UserError(
            f"the episodes are in other tokens than {student.spec} writes; fix: name the model "
            "that played them, or one of its tokenizer"
        )
    action = parse_action(text)
    if not isinstance(action, Final) or grade(case, action.answer).right:
        return None
    nodes = read_nodes(trajectory)
    ids = student.encode_reply(text)
    last = replace(nodes[-1], text=text, token_ids=ids, loss_mask=(1,) * len(ids))
    chained = (
        replace(node, parent=place - 1, logprobs=())
        for place, node in enumerate((*nodes[:-1], last))
    )
    return replace(
        trajectory,
        kind="demonstration",
        nodes=tuple(chained),
        answer=action.answer,
        correct=False,
        reward=None,
        terms=None,
    )
