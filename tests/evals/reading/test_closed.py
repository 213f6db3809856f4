"""A truth table of replies to closed questions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgym.evals.reading.closed import closed_of, is_polar, polar_of

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
        "No\n\nThe lungs are clear.", "No - nothing is seen", "No — clear", "No (clear lungs)",
        '{"answer": "no"}',
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
        "No\nYes", "No (or yes)", "No-contrast image", "no\n\nfinal answer: unknown",
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


@pytest.mark.parametrize(
    ("gold", "reply", "said"),
    [
        ("yes", "Yes, there is.", "yes"), ("Yes", "yes", "Yes"), ("no", "yes", "yes"),
        ("是的", "答案：是的", "是的"), ("是的", "答案是是的。", "是的"),
        ("是的", "是的！", "是的"), ("是的", "是，心脏增大。", "是的"),
        ("是的", "有，可见积液", "是的"), ("是的", "不是", "不是"),
        ("没有", "没有，肺部没有异常。", "没有"), ("没有", "否", "没有"),
        ("不是", "是的，正常", "是的"), ("没有", "有，不是没有", None),
        ("不是", "不是。这是CT。", "不是"), ("没有", "没有，胸片是正常的，有心影。", "没有"),
        ("是的", "是的，没有积液", None), ("没有", "没有，有", None), ("否", "否，对比正常", "否"),
        ("是的", "是不是", None), ("是的", "可能是的", None), ("是的", "yes", None),
        ("没有", "没有和有", None), ("不是", "不确定", None),
    ],
)  # fmt: skip
def test_yes_and_no_are_read_in_the_language_of_the_gold(
    gold: str, reply: str, said: str | None
) -> None:
    assert polar_of(reply, gold) == said


def test_only_words_that_affirm_or_deny_are_polar() -> None:
    assert all(map(is_polar, ("yes", "No", "No.", "是的", "没有", "否")))
    assert not any(map(is_polar, ("left", "normal", "none", "不包含", "右肺", "")))


@given(st.text(max_size=60))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert closed_of(text, WORDS) in (None, *WORDS)
