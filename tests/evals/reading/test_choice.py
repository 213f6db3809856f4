"""A truth table of replies to a question with options: what is read, and what is not."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgym.evals.reading.choice import choice_of

FOUR = ("smooth", "banded", "granular", "striated")
B = "banded"

NAMES_B = [
    "B", "b", "(B)", "B)", "B.", "B,", "b.", "**B**", "'B'", '"B"', "Ｂ", "（Ｂ）", r"\boxed{B}",
    r"$\boxed{B}$", r"\boxed{\text{B}}", "B. banded", "B: banded", "B) banded", "(B) banded",
    "(B) Banded.", "B - banded", "B banded", "Option B", "option B.", "Choice: B", "Answer: B",
    "banded", "Banded", "BANDED.", " banded \n", "`B`", "```\nB\n```", "```text\nbanded\n```",
    "[B]", "{B}", "<B>", "*B*", "__B__", "B!", "B;", "The answer is B", "The answer is B.",
    "The answer is (B).", "The correct answer is B", "the correct option is: B",
    "Answer: (B) banded",
    "My answer is banded.", "Final answer: B", "final answer is B.", "FINAL ANSWER: **B**",
    "The lesion shows stripes.\nAnswer: B", "I looked closely.\n\nThe answer is **B. banded**",
    "<answer>B</answer>", "<answer> (B) </answer>", "<answer>banded</answer>", "<ANSWER>B</ANSWER>",
    "Sure! <answer>B</answer> I hope that this helps.", "<answer>B", "text <answer>**B**</answer>",
    "<think>A or C? No.</think><answer>B</answer>", "<think>It may be A.</think>B",
    "<think>never closed, says A</think>\n\nB.", "答案是B", "答案：B", "答案为 B。",
    "ANSWER: A ... actually\nANSWER: B", "<answer>A</answer><answer>B</answer>",
    r"First \boxed{A}, then corrected: \boxed{B}", "Definitely B", "Definitely B.", "I choose B",
    "It is B", "Clearly (B)", "The answer is unclear to me.\nThe answer is B",
    "<tool_call>{\"name\": \"zoom\"}</tool_call>\nB", "The best choice is B", "option: B",
    "The right answer = B", "B\n\nExplanation: the stripes rule out what is smooth.",
    "The lesion has stripes.\n\n**B**", "banded\nIt has stripes.", "### Answer\nB",
    "<answer>The answer is B</answer>", "<answer>The correct option is (B).</answer>",
    '{"answer": "B"}', "B – banded", "B — banded", "B; banded", r"\boxed{\textbf{B}}",
    "B\nIn other words: B. banded\nB",
    "Option B is correct.", "B is correct", "**B** is the correct answer.",
    "(B) is the best choice!", "The answer is option B: banded", "The answer is banded (B).",
    "banded (B)", "Banded (option B).",
    "Thus, B.", "Therefore B", "Hence, (B)", "The correct answer is therefore B.", "Most likely B",
    "The answer would be B", "The answer must be (B).", "My answer should be banded",
    "It has stripes.\nOption B is correct.", "Answer: banded [B]",
]  # fmt: skip

NAMES_NOTHING = [
    "", " ", ".", "AB", "A, B, and C", "A or B", "B or C", "B and C", "B/C", "Both", "None",
    "None of the above", "Cannot determine", "I do not know", "Appears normal", "A normal scan",
    "It is not B", "not B", "Neither A nor B", "B is wrong", "E", "(E)", "Z", "option E", "2", "1",
    "B. smooth", "A. banded", "(C) banded", "B: banded or granular", "bandedd", "band", "banded?!x",
    "banded and granular", "smooth banded granular striated",
    "A. smooth B. banded C. granular D. striated",
    "the banded one", "probably", "A picture of a lesion", "I see a banded texture in the lesion.",
    "Because of the stripes it could be B, but also C.", "<answer></answer>", "<answer>?</answer>",
    "<answer>A or B</answer>", "The answer is A or B", "The answer is not B", r"\boxed{}",
    r"\boxed{AB}", "Answer: all of them", "<think>B</think>", "<think>B", "```\n```", "no answer",
    "I would rule out A", "Image A", "vitamin B or C", "A\nB", "A B C D", "A,B,C,D", "ABCD", "BB",
    "b or not b", "the letter that follows A", "Bb", "B. banded, C. granular", "Unless it is B",
    "The first one", "second", "None but B", "Both A and B", "In my opinion, clearly, this is B",
    "The answer is unclear.", "答案是A或B", "不知道", "<answer>banded, granular</answer>",
    "Dr. B", "It isn't B", "never B", "We cannot say B", "<answer>B</answer", "B" * 500,
    "A" + " B" * 9, "A\n\nB\n\nC\n\nD", "Options:\nA. smooth\nB. banded\nC. granular\nB",
    "B\nthe answer is that of the first\nC", "It has stripes.\nB\nOr has it?",
    "<answer>The answer is not B</answer>", "B — smooth",
    "Option B is incorrect", "B is not correct", "B is correct, A is wrong", "Is B correct?",
    "B or C is correct", "Neither B is correct", "smooth (B)", "banded (A)", "banded (B or C)",
    "banded or smooth (B)", "The answer would be B or C", "The answer should not be B",
    "Option A is wrong.\nOption B is correct.\nOption C is correct.", "likely b", "so b",
    "B is correct if it has stripes", "Option E is correct", "Thus, A or B",
]  # fmt: skip


@pytest.mark.parametrize("reply", NAMES_B)
def test_a_letter_in_ordinary_clothes_is_read(reply: str) -> None:
    assert choice_of(reply, FOUR) == B


@pytest.mark.parametrize("reply", NAMES_NOTHING)
def test_nothing_is_guessed(reply: str) -> None:
    if reply == "<answer>B</answer":  # cut off in the last character
        assert choice_of(reply, FOUR) in (None, B)
        return
    assert choice_of(reply, FOUR) is None


@pytest.mark.parametrize(
    ("reply", "options", "named"),
    [
        ("A", ("B", "C", "D", "E"), "B"),  # the letter of the first option, whose text is B
        ("B", ("B", "C", "D", "E"), "C"),
        ("E", ("B", "C", "D", "E"), "E"),  # no letter has it, so it is a text
        ("No, there is.", ("Yes", "No"), None),
        ("yes", ("Yes", "No"), "Yes"),
        ("None", ("None", "Fluid"), "None"),
        ("1.5 cm", ("1.5 cm", "15 cm"), "1.5 cm"),
        ("B", ("one", "one"), "one"),
        ("C", ("one", "two"), None),
        ("A. 5 µm", ("5 µm", "6 µm"), "5 µm"),  # NFKC has another micro sign, no ² and no ，
        ("The answer is 10 cm²", ("10 cm", "10 cm²"), "10 cm²"),
        ("(B) 左肺，上叶", ("右肺", "左肺，上叶"), "左肺，上叶"),
    ],
)
def test_options_whose_texts_are_letters(reply: str, options: tuple[str, ...], named: str) -> None:
    assert choice_of(reply, options) == named


PARAGRAPH = (
    "The image shows a normal structure with no abnormality. There is a mass in the left lung, and "
    "yes, the findings suggest pneumonia, edema, effusion, a fracture, smooth, banded, granular."
)


def test_no_constant_paragraph_is_an_answer() -> None:
    assert choice_of(PARAGRAPH, FOUR) is None
    assert choice_of(f"<answer>{PARAGRAPH}</answer>", FOUR) is None
    assert choice_of(" ".join(f"{a}. {o}" for a, o in zip("ABCD", FOUR, strict=True)), FOUR) is None


@given(st.text(max_size=60))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert choice_of(text, FOUR) in (None, *FOUR)


@given(
    st.sampled_from("ABCD"), st.sampled_from(["{}", "({})", "{}.", "**{}**", "<answer>{}</answer>"])
)
def test_every_letter_is_read_alike(letter: str, dress: str) -> None:
    assert choice_of(dress.format(letter), FOUR) == FOUR[string.ascii_uppercase.index(letter)]
