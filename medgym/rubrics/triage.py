"""The rubric of the triage doctor (MMedAgent-RL, arXiv 2506.00555, section 3).

R = R_format + R_accuracy with R_format in {0, 0.5} and R_accuracy in {0, 1}. The paper's triage
names one department; ours may name several, joined by commas, and right is then the share of the
named ones that the case needs, so that naming all of them earns little.
"""

from typing import TYPE_CHECKING

from medgym.cases import Case
from medgym.consultation.opinions import chosen
from medgym.rubric import Rubric, Term, well_formed

if TYPE_CHECKING:
    from medgym.episode import Episode


def in_form(case: Case, episode: "Episode") -> float:
    """1 where every reply could be read and the answer names only known specialties, else 0."""
    named = chosen(episode.answer, case.options, len(case.options))
    one = case.model_copy(update={"options": ()})
    return float(bool(named)) * well_formed(one, episode)


def right_specialty(case: Case, episode: "Episode") -> float:
    """1 over the number of specialties named where the case's own is among them, else 0."""
    named = chosen(episode.answer, case.options, len(case.options))
    return 1 / len(named) if case.answer in named else 0.0


def triage() -> Rubric:
    """Format 0.5, accuracy 1."""
    return Rubric("triage", (Term("accuracy", 1.0, right_specialty), Term("format", 0.5, in_form)))
