"""`med-r1`: the right answer and the form of a thought before it, weighed alike.

Source: Med-R1, arXiv 2503.13939, and its code. Formula:

    R = 1[right] + 1[the whole reply is <think>...</think> <answer>...</answer>]

Departures:
- Right is what `medgym.scorer.grade` says (letter or text of the option), where Med-R1 tries a
  mathematical check, then compares the text in the answer tags.
- Med-R1 has one reply and no tools; here every reply must hold a thought, with calls or, in the
  last one, the answer. A thought may be empty and the answer may be anything, as in its pattern.
- The variant that thinks after the answer does not fit our action format and is not offered.

Form weighs as much as being right, so a policy that cannot see still earns more than half.
"""

from medgym.rubric import Rubric, Term, answered_right, thought_through


def med_r1() -> Rubric:
    """Med-R1's reward; terms `answer`, `format`."""
    terms = (Term("answer", 1.0, answered_right), Term("format", 1.0, thought_through))
    return Rubric("med-r1", terms)
