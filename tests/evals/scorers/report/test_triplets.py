"""The reader of reports: what sentences state, how often it is right, and what it never reads."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgym.evals.scorers.report.lexicon import ANATOMIES, DEFAULT_PLACE, FINDINGS
from medgym.evals.scorers.report.sentences import sentences
from medgym.evals.scorers.report.triplets import Triplet, read

WRITTEN = Path(__file__).with_name("sentences.txt")


def written() -> Iterator[tuple[str, set[str]]]:
    """The sentences of the file, each with the lines of its triplets."""
    sentence, lines = "", set[str]()
    for line in WRITTEN.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        if line.startswith("  "):
            lines.add(line.strip())
            continue
        if sentence:
            yield sentence, lines
        sentence, lines = line, set()
    yield sentence, lines


def lines_of(text: str) -> set[str]:
    return {triplet.line() for triplet in read(text).triplets}


def test_it_reads_what_sentences_state() -> None:
    """Precision and recall: of sentences that the rules were made with, and of those written after
    the rules were fixed."""
    cases = list(written())
    first = next(place for place, (text, _) in enumerate(cases) if text.startswith("Stable card"))
    for part, least in ((cases[:first], 0.97), (cases[first:], 0.88)):
        pairs = [(lines_of(sentence), expected) for sentence, expected in part]
        misses = [(sentence, lines_of(sentence) ^ expected) for sentence, expected in part]
        right = sum(len(found & expected) for found, expected in pairs)
        stated, wanted = (sum(map(len, side)) for side in zip(*pairs, strict=True))
        assert wanted > 40
        assert right / stated >= least, [each for each in misses if each[1]]
        assert right / wanted >= least, [each for each in misses if each[1]]


def test_a_line_of_medtri_is_read_as_it_was_written() -> None:
    """Each statement that can be made, written as a line, is read as the same statement."""
    presences = ("present", "absent", "uncertain")
    for number, (finding, place) in enumerate(DEFAULT_PLACE.items()):
        anatomy = place or list(ANATOMIES)[number % len(ANATOMIES)]
        line = f"{anatomy}: {FINDINGS[finding][1][0]}; {presences[number % 3]}"
        assert lines_of(line) == {f"{anatomy}: {finding}; {presences[number % 3]}"}, line


def test_lines_and_sentences_of_one_report_are_the_same_statements() -> None:
    plain = "The heart is enlarged. Small left pleural effusion. No pneumothorax. Possible mass."
    made = "\n".join(triplet.line() for triplet in read(plain).triplets)
    assert read(made).triplets == read(plain).triplets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FINDINGS: A.\nIMPRESSION:\n- B\n2. C", ["A", "B", "C"]),
        ("A 3.5 cm mass. B.", ["A 3.5 cm mass", "B"]),
        ("双肺清晰。心影不大；无积液。", ["双肺清晰", "心影不大", "无积液"]),
        ("1. One. 2. Two.", ["One", "Two"]),
        ("", []),
        (" . \n ; ", []),
    ],
)
def test_headings_and_signs_of_lists_are_no_sentences(text: str, expected: list[str]) -> None:
    assert list(sentences(text)) == expected


WORDS = [
    "no",
    "effusion",
    "heart",
    "is",
    "normal",
    ",",
    "and",
    ";",
    ":",
    ".",
    "left",
    "?",
    "\n",
    "肺",
]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=30).map(" ".join))
def test_any_text_can_be_read(text: str) -> None:
    found = read(text)
    assert len(set(found.triplets)) == len(found.triplets)
    assert all(isinstance(each, Triplet) for each in found.triplets)


def test_a_sentence_without_an_end_is_not_read() -> None:
    """It is compared as text; reading it would take time that grows with its square."""
    endless = "no effusion, " * 20_000
    assert read(endless).triplets == ()
    assert len(read(endless).unread) == 1
