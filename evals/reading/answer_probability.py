"""How sure a policy was of an answer: how likely the tokens were that spell it."""

import math

from medgym.trajectory import Trajectory

from ..viewer.tokens import Pieces

BEGIN, END = "<answer>", "</answer>"


def answer_probability(trajectory: Trajectory, pieces: Pieces) -> float | None:
    """The probability of the answer as the policy gave it, from the tokens that it sampled.

    It is the product of the probabilities of the tokens that spell what stands between `<answer>`
    and `</answer>` in the last reply, given all before them. They are of the distribution that was
    sampled: at a temperature of 0 or 1 the model's own, at another one the tempered one. None where
    the policy has no log-probabilities, its tokenizer is not here, or there is no answer.
    """
    if trajectory.answer is None or trajectory.kind != "sampled":
        return None
    policy = trajectory.branches[-1].record.policy if trajectory.branches else trajectory.policy
    replies = [node for node in trajectory.branch() if node.role == "assistant"]
    if not replies or not replies[-1].logprobs:
        return None
    spelled = pieces.logprobs(policy, replies[-1])
    text = "".join(piece for piece, _ in spelled)
    start = text.rfind(BEGIN) + len(BEGIN)
    end = text.find(END, start)
    if start < len(BEGIN) or end < 0:
        return None
    total, place = 0.0, 0
    for piece, logprob in spelled:
        if place < end and place + len(piece) > start:
            total += logprob
        place += len(piece)
    return min(1.0, math.exp(total))
