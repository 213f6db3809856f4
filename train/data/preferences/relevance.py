"""How much each pair counts: scores of clinical relevance, and the weights that come of them.

As in MMedPO (arXiv 2412.06141): several judges say how plausible the rejected words are, and their
mean is the score; where only the images differ, it is a tool's confidence, if the episode has one.
Scores are stored as they are. Weights are made when pairs are used: z-scored, around 1, clipped.
The bounds `LEAST` and `MOST` are ours, not the paper's.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal, get_args

import numpy as np

from medgym.errors import RunError
from medgym.messages import Final, Message, message, parse_action
from medgym.metrics.recorded_tokens import read_nodes
from medgym.policy import Policy, Sampling, load_policy
from medgym.trajectory import Trajectory

from .asking import replies
from .pair import Pair
from .rewording import last_words

By = Literal["uniform", "score", "margin"]
"""What weights come of: nothing, the score, or by how much the chosen episode earned more."""

BY: tuple[By, ...] = get_args(By)

LEAST, MOST = 0.5, 1.5
"""Of a weight. The mean stays near 1, so weights hardly change the learning rate."""

PROMPT = """You judge how a model errs that reads medical images.

Question: {question}
{options}Right reply: {right}
Wrong reply: {wrong}

How plausible is the wrong reply, and how relevant is its error in the clinic? 0 is an error that \
no one would make or that does not matter; 1 is one that a careful reader could make and that \
matters. Reply with a number from 0 to 1, as <answer>0.5</answer>."""
"""What judges are asked. Scores of other versions of it are not comparable."""

SAMPLING = Sampling(temperature=0.0)

ALIKE = 1e-9
"""The spread up to which scores are alike."""

_NUMBER = re.compile(r"(?<![\w.+/-])(?:0(?:\.\d+)?|1(?:\.0+)?|\.\d+)(?![\w%]|\.\d)")
_CONFIDENCE = re.compile(r"confidence\W{1,3}(0(?:\.\d+)?|1(?:\.0+)?)(?![\w%]|\.\d)", re.IGNORECASE)


@dataclass(frozen=True)
class PairScores:
    """Pairs with their scores.

    Attributes:
        pairs: in their order.
        by_judges, by_tools, unscored: how many got their score from whom; those that got none
            score as all others do on average.
        unreadable: how many judgments of each judge could not be read, by its spec.
    """

    pairs: tuple[Pair, ...]
    by_judges: int
    by_tools: int
    unscored: int
    unreadable: Mapping[str, int]


def judged(pairs: Sequence[Pair], judges: Sequence[str | Policy]) -> PairScores:
    """Score pairs by judges, or by a tool's confidence.

    A question about the same words is asked once.

    Args:
        judges: any policies, or their specs; they are shown no images.

    Raises:
        UserError: a spec names no policy.
        RunError: a judge does not reply, or no judgment at all can be read.
    """
    texts = [_asked(pair) if differs_in_words(pair) else None for pair in pairs]
    values: dict[str, list[float]] = {text: [] for text in texts if text is not None}
    unreadable: Counter[str] = Counter()
    for judge in judges if values else ():
        for text, value in _judgments(judge, list(values), unreadable).items():
            values[text].append(value)
    if unreadable and not any(values.values()):
        raise RunError(
            f"none of {sum(unreadable.values())} judgments can be read; fix: choose judges that "
            "reply with a number from 0 to 1"
        )
    told = [fmean(values[text]) if text and values[text] else None for text in texts]
    shown = [
        confidence_of(pair.rejected) if text is None else None
        for pair, text in zip(pairs, texts, strict=True)
    ]
    scores = [one if one is not None else other for one, other in zip(told, shown, strict=True)]
    known = [score for score in scores if score is not None]
    middle = fmean(known) if known else 1.0
    return PairScores(
        tuple(
            replace(pair, score=middle if score is None else score)
            for pair, score in zip(pairs, scores, strict=True)
        ),
        by_judges=sum(each is not None for each in told),
        by_tools=sum(each is not None for each in shown),
        unscored=len(scores) - len(known),
        unreadable=dict(unreadable),
    )


def weights_of(
    pairs: Sequence[Pair], by: By = "uniform", *, least: float = LEAST, most: float = MOST
) -> list[float]:
    """How much each pair counts among these, in their order.

    A weight is 1 plus the z-score of what it is made of, clipped to `least` and `most`. Only pairs
    of one builder are compared, for others are scored by others. Where all are alike, each is 1.
    """
    weights = np.ones(len(pairs))
    made: dict[str, list[int]] = {}
    for place, pair in enumerate(pairs if by != "uniform" else ()):
        made.setdefault(pair.builder, []).append(place)
    for places in made.values():
        own = [pairs[place] for place in places]
        values = np.array([pair.score if by == "score" else pair.margin for pair in own])
        spread = float(values.std())
        if spread > ALIKE:
            weights[places] = np.clip(1.0 + (values - values.mean()) / spread, least, most)
    return [float(weight) for weight in weights]


def differs_in_words(pair: Pair) -> bool:
    """Whether the two episodes of a pair have different tokens, and not only different images."""
    chosen, rejected = (
        [node.token_ids for node in read_nodes(each)] for each in (pair.chosen, pair.rejected)
    )
    return chosen != rejected


def read_score(text: str) -> float | None:
    """The score that a judge's reply gives: the number from 0 to 1 in its answer, else its last
    one; None where there is none."""
    action = parse_action(text)
    found = _NUMBER.findall(action.answer if isinstance(action, Final) else text)
    return float(found[-1]) if found else None


def confidence_of(trajectory: Trajectory) -> float | None:
    """The mean confidence from 0 to 1 that tools say in an episode, as `confidence: 0.8`."""
    said = (node.text for node in trajectory.nodes if node.role == "tool")
    found = [float(value) for text in said for value in _CONFIDENCE.findall(text)]
    return fmean(found) if found else None


def _judgments(
    judge: str | Policy, questions: Sequence[str], unreadable: Counter[str]
) -> dict[str, float]:
    """What a judge says to each question, where that can be read; else it is counted."""
    policy = load_policy(judge, by_recipe=True) if isinstance(judge, str) else judge
    asked: list[list[Message]] = [[message("user", text)] for text in questions]
    try:
        said = replies(policy, asked, SAMPLING)
    finally:
        if isinstance(judge, str):
            policy.close()
    values = {text: read_score(reply) for text, reply in zip(questions, said, strict=True)}
    lost = sum(value is None for value in values.values())
    if lost:
        unreadable[policy.spec] += lost
    return {text: value for text, value in values.items() if value is not None}


def _asked(pair: Pair) -> str:
    chosen = pair.chosen
    offered = f"Options: {', '.join(chosen.options)}\n" if chosen.options else ""
    return PROMPT.format(
        question=chosen.question,
        options=offered,
        right=last_words(chosen),
        wrong=last_words(pair.rejected),
    )
