"""Contradictions between what was looked at and what was answered, and between own words."""

import pytest

from medgym.cases import Case
from medgym.evals.hallucination.contradictions import contradictions
from medgym.evals.outcomes.outcome import outcome_of
from medgym.imaging.study import ImageRef
from medgym.sources.phantom.source import case_of, plan
from medgym.trajectory import ImageUse, Look, Node, Trajectory

BANDED = plan("test", "ct", 512, 2)
"""A banded lesion in the left half."""

X0, Y0, X1, Y1 = map(float, BANDED.box_px)
WHOLE = Look("zoom", 0, (X0 - 8, Y0 - 8, X1 + 8, Y1 + 8), gain=4.0)
RIGHT = Look("zoom", 0, (300.0, 100.0, 400.0, 200.0), gain=4.0)
CALL = '<tool_call>{"name": "zoom", "arguments": {}}</tool_call>'


def found(
    question: str | Case, answer: str, *looks: Look, before: str = "", thought: str = ""
) -> dict[str, bool]:
    case = question if isinstance(question, Case) else case_of(BANDED, question)
    nodes = [Node(-1, "user", "?", images=(ImageUse("a", 0),))]
    if before or looks:
        nodes.append(Node(0, "assistant", f"{before}{CALL}" if looks else before))
        shown = (ImageUse("b", 1),) if looks else ()
        nodes.append(Node(1, "tool", "View 1", images=shown))
    last = f"<think>{thought}</think>" * bool(thought) + f"<answer>{answer}</answer>"
    nodes.append(Node(len(nodes) - 1, "assistant", last))
    trajectory = Trajectory(
        case.id, "x", 0, 0, "text", tuple(nodes), answer=answer, reward=0.0, looks=looks
    )
    return contradictions(case, trajectory, outcome_of(case, trajectory))


def test_what_was_shown_whole_is_denied_misnamed_or_put_into_the_other_half() -> None:
    assert found("presence", "no", WHOLE) == {"denied": True}
    assert found("presence", "yes", WHOLE) == {"denied": False}
    assert found("kind", "oblique", WHOLE) == {"misnamed": True}
    assert found("kind", "banded", WHOLE) == {"misnamed": False}
    assert found("diagnosis", f"banded, {BANDED.stage}", WHOLE) == {"misnamed": False}
    assert found("side", "right", WHOLE) == {"other half": True, "half not looked at": True}
    assert found("side", "left", WHOLE) == {"other half": False, "half not looked at": False}


def test_where_nothing_was_shown_nothing_can_be_contradicted() -> None:
    overview = Look("crop", 0, (0.0, 0.0, 512.0, 512.0), gain=1.0)
    for looks in ((), (RIGHT,), (overview,)):
        assert found("presence", "no", *looks) == {}
        assert found("kind", "oblique", *looks) == {}
    assert found("side", "right", overview) == {}
    assert found("kind", "a pattern", WHOLE) == {}  # it names no other finding
    assert found(case_of(plan("test", "ct", 512, 0), "presence"), "yes", WHOLE) == {}


def test_a_half_in_which_no_look_lay() -> None:
    assert found("side", "left", RIGHT) == {"half not looked at": True}
    assert found("side", "right", RIGHT) == {"half not looked at": False}
    assert found("side", "left", RIGHT, WHOLE) == {"other half": False, "half not looked at": False}
    across = Look("zoom", 0, (200.0, 100.0, 300.0, 200.0), gain=4.0)
    assert found("side", "left", across) == {"half not looked at": False}


@pytest.mark.parametrize(
    ("thought", "own"),
    [
        ("The answer is oblique.", True), ("The answer is banded.", False),
        ("I see vertical stripes: striated.", True), ("It could be striated. It is banded.", False),
        ("The lesion is not striated.", None), ("Hm.", None), ("striated or banded", None),
        ("It is banded, not oblique.", False), ("It is oblique, not banded.", True),
    ],
)  # fmt: skip
def test_a_thought_that_says_otherwise(thought: str, own: bool | None) -> None:
    expected = {} if own is None else {"own words": own}
    assert found("kind", "B", thought=thought) == expected


def test_a_mind_that_changed_by_what_it_saw_contradicts_nothing() -> None:
    seen = found("kind", "banded", WHOLE, before="<think>It looks striated.</think>")
    assert seen == {"misnamed": False}
    # But an answer that was given as one counts, also where a later one replaces it.
    twice = found("kind", "banded", before="<answer>A</answer> I am sure.")
    assert twice == {"own words": True}
    assert found("kind", "banded", before="<answer>B</answer> I am sure.") == {"own words": False}


def test_presence_and_side_in_own_words() -> None:
    assert found("presence", "yes", thought="No lesion is seen.") == {"own words": True}
    assert found("presence", "yes", thought="No lesion in the right half.") == {}
    assert found("side", "left", thought="It lies in the right half.") == {"own words": True}
    thought = "The lesion does not cross the midline."
    assert found("presence", "yes", thought=thought) == {"own words": False}


def test_of_other_cases_only_a_question_for_a_finding_can_be_denied() -> None:
    asked = {"source": "own", "options": (), "answer_type": "closed", "answer": "yes"}
    own = case_of(BANDED, "kind").model_copy(update=asked | {"images": (ImageRef(uri="own.png"),)})
    there = own.model_copy(update={"question": "Is there a lesion?"})
    large = own.model_copy(update={"question": "Is the lesion large?"})
    assert found(there, "no", WHOLE) == {"denied": True}
    assert found(large, "no", WHOLE) == {}
    assert found(large, "no", before="<answer>yes</answer> sure") == {"own words": True}
