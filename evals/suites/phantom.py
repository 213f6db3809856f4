"""The suite `phantom`: each question that a phantom's image answers, on held-out phantoms.

The protocol is ours: the tool `zoom`, six replies, greedy. Each case shows a phantom of its own, so
all cases are independent. 200 cases for each question give an interval of 14 points at 50 %.
"""

from medgym.suite import Suite

QUESTIONS = ("kind", "side", "presence", "size")
CASES = 200


def phantom() -> Suite:
    """Four questions about synthetic images, 200 held-out cases each."""
    return Suite(
        name="phantom",
        benchmarks={
            question: f"phantom,question={question}:test[:{CASES}]" for question in QUESTIONS
        },
        source="medgym.sources.phantom",
    )
