"""A truth table of replies to closed questions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgym.evals.reading.closed import closed_of

WORDS = ("yes", "no")


@pytest.mark.parametrize(
    "reply",
    [
        "no", "No", "NO", "No.", "no!", "**No**", "(no)", "'no'", "<answer>no</answer>",
        "<answer>No.</answer>", r"\boxed{no}", "The answer is no", "The answer is no.",
        "Answer: No", "Final answer: no", "No, there is.", "No, the heart is normal.",
        "No. There is nothing in the image.", "no; the lungs are clear", "```\nno\n```",
        "<think>yes?</think>no", "The answer is yes.\nNo: the answer is no", "Ｎｏ", "no ",
        "<answer>yes</answer><answer>no</answer>", "No: nothing is seen", "__no__", "[No]",
    ],
)  # fmt: skip
def test_no_is_read_as_no(reply: str) -> None:
    assert closed_of(reply, WORDS) == "no"


@pytest.mark.parametrize(
    "reply",
    [
        "", "normal", "notice", "not seen", "nothing", "none", "unknown", "abnormal", "I think so",
        "yes and no", "yes or no", "yes, no", "No, yes", "no yes", "The image shows no fluid",
        "there is no mass", "I cannot say no", "maybe", "nodule", "No evidence", "no fluid",
        "Yes/No", "<answer></answer>", "<answer>normal</answer>", "<answer>yes or no</answer>",
        "yes no yes no", "eyes", "The answer is normal", "know", "Noted, thank you.", "No one, yes",
        "As an AI model I cannot answer.", "n", "y", "0", "1", "not", "no-one",
    ],
)  # fmt: skip
def test_what_is_neither_is_not_guessed(reply: str) -> None:
    assert closed_of(reply, WORDS) is None


@pytest.mark.parametrize(
    ("reply", "words", "said"),
    [
        ("Left", ("left", "right"), "left"),
        ("left, not right", ("left", "right"), None),
        ("left lung", ("left", "right"), None),
        ("是的。", ("是的", "不是"), "是的"),
        ("不是", ("是的", "不是"), "不是"),
        ("是的，有积液", ("是的", "不是"), "是的"),
        ("是的，不是", ("是的", "不是"), None),
        ("Axial", ("axial", "coronal"), "axial"),
        ("axial coronal", ("axial", "coronal"), None),
    ],
)
def test_other_sets_of_words(reply: str, words: tuple[str, ...], said: str | None) -> None:
    assert closed_of(reply, words) == said


@given(st.text(max_size=60))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert closed_of(text, WORDS) in (None, *WORDS)
