"""`medvlm-r1`: the right answer, and the form of a thought before it.

Source: MedVLM-R1, arXiv 2502.19634: GRPO with a format and an accuracy reward. Formula:

    R = 1[right] + form * 1[every reply holds a thought, and the last one the answer]

Departures:
- The values of the two rewards could not be obtained: 1 for being right and `form` = 1 are ours.
- Right is what `medgym.scorer.grade` says.
- MedVLM-R1 has one reply and no tools; here every reply must think.
"""

from medgym.rubric import Rubric, Term, answered_right, thought_through


def medvlm_r1(form: float = 1.0) -> Rubric:
    """MedVLM-R1's reward; terms `answer`, `format`.

    Args:
        form: what the form weighs.
    """
    terms = (Term("answer", 1.0, answered_right), Term("format", form, thought_through))
    return Rubric("medvlm-r1", terms)
