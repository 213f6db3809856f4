"""`vitar`: think, look, think again, answer: each part of the form earns a little, right earns 1.

Source: ViTAR, "Think Twice to See More", arXiv 2510.10052. Formula:

    R = 0.2 * 1[thought and action can be read] + 0.2 * 1[the answer has its form] + 1[right]

The box that is looked at earns nothing.

Departures:
- ViTAR writes JSON with the fields "thought" and "action"; here that is a thought and a call in our
  tags, in every reply before the last one, of which there must be one.
- The answer has its form where the last reply can be read and, of options, names one.
- ViTAR's action overlays a box on the image, and an episode has exactly two rounds. Here the action
  is a call of any tool, and `max_turns = 2` makes the rounds two.
- Exact match is what `medgym.scorer.grade` says.
"""

from medgym.cases import Case, option_of
from medgym.episode import Episode
from medgym.messages import Calls
from medgym.rubric import Rubric, Term, answered_right


def vitar() -> Rubric:
    """ViTAR's reward; terms `action`, `format`, `answer`."""
    terms = (
        Term("action", 0.2, acted),
        Term("format", 0.2, answer_formed),
        Term("answer", 1.0, answered_right),
    )
    return Rubric("vitar", terms)


def acted(case: Case, episode: Episode) -> float:
    """1 where there are replies before the answer and each is a thought and calls, else 0."""
    before = episode.turns if episode.answer is None else episode.turns[:-1]
    well = (isinstance(t.action, Calls) and t.action.think is not None for t in before)
    return float(bool(before) and all(well))


def answer_formed(case: Case, episode: Episode) -> float:
    """1 where there is an answer and, of options, it names one, else 0."""
    if episode.answer is None:
        return 0.0
    return float(not case.options or option_of(episode.answer, case.options) is not None)
