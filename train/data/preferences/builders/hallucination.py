"""Right words against the same looking with a plausible wrong finding."""

from collections.abc import Iterator
from typing import ClassVar

from medgym.cases import Case
from medgym.messages import ImagePart, Message, message
from medgym.metrics.recorded_tokens import read_nodes
from medgym.policy import Policy, Sampling, load_policy
from medgym.trajectory import Trajectory

from ....run.policies import check_policy
from ..asking import replies
from ..builder import Group, PairBuilder, PairSource
from ..pair import Pair
from ..rewording import last_words, reworded, student_of, with_last_words, wrong_options
from ..right import right_episodes

PROMPT = """You write wrong but plausible readings of medical images, from which a model learns to \
tell them from right ones.

Question: {question}
{options}Right answer: {answer}

This reply is right:
{reply}

Write the same reply with another finding, one that is plausible here and wrong. Keep its tags, \
its form and its length. Change only what it says it sees and its answer. Write only the reply."""
"""What the policy is asked. Pairs of other versions of it are not comparable."""

SAMPLING = Sampling(temperature=0.0)


class HallucinationPairs(PairBuilder):
    """The text pairs of MMedPO (arXiv 2412.06141): the looking of an episode that answered right,
    ended by another finding.

    By rules it is another option of the case, or of yes and no the other one: in the answer, and
    wherever the reply names the right one. A case without options needs a policy, which writes the
    reply. A reply of it that is no wrong answer makes no pair.

    Args:
        policy: the spec of the policy that writes, such as `openai:URL#MODEL`; rules without one.
    """

    name: ClassVar[str] = "hallucination"
    needs: ClassVar[tuple[str, ...]] = ("student",)

    def __init__(self, *, policy: str = "") -> None:
        self._spec = policy
        self._writer: Policy | None = None

    def begin(self, source: PairSource) -> None:
        """Load the policy that writes.

        Raises:
            UserError: there is none of that spec, or it is not ready.
        """
        if self._spec:
            check_policy(self._spec)
            self._writer = load_policy(self._spec, by_recipe=True)

    def pairs(self, group: Group, source: PairSource) -> Iterator[Pair]:
        """A pair for each episode that answered right."""
        student = student_of(self.name, source)
        case, rng = group.case, source.rng(self.name, group.case)
        right = right_episodes(group.episodes)
        wrong = wrong_options(case)
        texts: list[str | None]
        if self._writer is not None:
            texts = [*replies(self._writer, [_asked(case, e, source) for e in right], SAMPLING)]
        elif wrong:
            texts = [reworded(last_words(e), case, wrong[rng.integers(len(wrong))]) for e in right]
        else:
            return
        for chosen, text in zip(right, texts, strict=True):
            rejected = with_last_words(chosen, case, text, student) if text else None
            # What is no wrong answer leaves the episode as it is, and such a pair is counted.
            yield Pair(chosen, rejected or chosen, self.name, "right against a wrong finding")


def _asked(case: Case, chosen: Trajectory, source: PairSource) -> list[Message]:
    offered = f"Options: {', '.join(case.options)}\n" if case.options else ""
    text = PROMPT.format(
        question=case.question, options=offered, answer=case.answer, reply=last_words(chosen)
    )
    shown = read_nodes(chosen)[0].images
    images = [ImagePart(use.view, source.image(use.sha256)) for use in shown]
    return [message("user", text, images)]
