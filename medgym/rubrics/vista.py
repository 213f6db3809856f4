"""`vista`: no repetition first, then form, then the right answer, as VISTA-R1 is trained.

Source: VISTA-Gym, arXiv 2511.19773 (the parent of MedVistaGym, arXiv 2601.07107, whose own reward
could not be obtained). Formula, in order of priority:

    R = R_rep + R_format + R_correct
    R_rep     in {-3, -2, -1.5, 0}
    R_format  = 2 (1[all turns well formed] - 1/2), only where R_rep = 0
    R_correct = 1[right], only where R_rep = 0 and the form is right

Departures:
- Only the formula is known, so which repetition costs which of the three values is ours: -3 where a
  reply is given again unchanged, -2 where a call is made again with the same arguments, -1.5 where
  a reply says the same `words` words `times` times outside its calls. The worst one counts.
- Well formed is our action format: a thought and one to four calls, or a thought and an answer.
- The released environment pays a shaped reward for each tool in place of this. We omit it, since it
  pays for calls.
"""

import json
import re
from collections import Counter
from functools import partial

from medgym.cases import Case
from medgym.episode import Episode, Turn
from medgym.messages import Calls, Final, Malformed
from medgym.rubric import Rubric, Term, answered_right, thought_through

REPLY, CALL, PHRASE = -3.0, -2.0, -1.5

_WORD = re.compile(r"\w+")


def vista(words: int = 8, times: int = 3) -> Rubric:
    """VISTA-R1's reward; terms `repetition`, `format`, `answer`.

    Args:
        words, times: `words` words in a row that one reply says `times` times are a repetition.
    """
    repeats = partial(repetition, words=words, times=times)

    def form(case: Case, episode: Episode) -> float:
        return 0.0 if repeats(case, episode) else 2 * thought_through(case, episode) - 1

    def right(case: Case, episode: Episode) -> float:
        return answered_right(case, episode) if form(case, episode) == 1 else 0.0

    terms = (
        Term("repetition", 1.0, repeats),
        Term("format", 1.0, form),
        Term("answer", 1.0, right),
    )
    return Rubric("vista", terms)


def repetition(case: Case, episode: Episode, words: int = 8, times: int = 3) -> float:
    """0, or what the worst repetition costs."""
    replies = [turn.reply.strip() for turn in episode.turns]
    if len(set(replies)) < len(replies):
        return REPLY
    calls = [
        (call.name, json.dumps(call.arguments, sort_keys=True))
        for turn in episode.turns
        if isinstance(turn.action, Calls)
        for call in turn.action.calls
    ]
    if len(set(calls)) < len(calls):
        return CALL
    for turn in episode.turns:
        said = _WORD.findall(_own_words(turn).casefold())
        runs = Counter(tuple(said[i : i + words]) for i in range(len(said) - words + 1))
        if max(runs.values(), default=0) >= times:
            return PHRASE
    return 0.0


def _own_words(turn: Turn) -> str:
    """A reply without its calls: several of these are alike in form."""
    if isinstance(turn.action, Malformed):
        return turn.reply
    answer = turn.action.answer if isinstance(turn.action, Final) else ""
    return f"{turn.action.think or ''} {answer}"
