"""Where a confidence comes from, and what is said of it; accuracy by kind of case."""

import json
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models

from medgym.cases import Case
from medgym.errors import UserError
from medgym.evals.breakdown.calibrated import FEWEST, calibrations
from medgym.evals.breakdown.subgroups import LISTED, SMALL, kinds_named, subgroups
from medgym.evals.breakdown.tables import calibration_rows, subgroup_rows
from medgym.evals.outcomes.outcome import CaseOutcome, outcome_of
from medgym.evals.outcomes.table import read_outcomes, write_outcomes
from medgym.evals.reading.confidence import stated_confidence
from medgym.evals.viewer.tokens import Pieces
from medgym.trajectory import Node, Trajectory

CASE = Case(
    id="own/test/1", images=(), question="Which?", options=("smooth", "banded"), answer="banded",
    answer_type="choice", group="p1", source="own", split="test", modality="CT",
)  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "stated"),
    [
        ("Confidence: 80 %", 0.8),
        ("<confidence>0.8</confidence><answer>B</answer>", 0.8),
        ("**Confidence:** 0.95", 0.95),
        ("My confidence is 7/10.", 0.7),
        ("confidence score = 85%", 0.85),
        ("confidence in my answer: 90 percent", 0.9),
        ("Confidence: 20 %. No: confidence: 60 %", 0.6),
        ("Confidence: 1", 1.0),
        ("Confidence: 85", None),  # of ten, or of a hundred?
        ("Confidence: 120 %", None),
        ("Confidence: high", None),
        ("I am 80 % sure", None),
        ("The 95 % confidence interval is 3 to 5", None),
        ("", None),
    ],
)
def test_only_a_confidence_that_is_named_is_one(reply: str, stated: float | None) -> None:
    assert stated_confidence(reply) == stated


def sampled(tokens: dict[str, float], model: Path) -> tuple[Trajectory, Pieces]:
    """An episode whose last reply is these tokens with these probabilities."""
    names = list(dict.fromkeys(tokens))
    tokenizer = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, "?"))
    tokenizer.decoder = decoders.Fuse()
    model.mkdir(exist_ok=True)
    tokenizer.save(str(model / "tokenizer.json"))
    ids = tuple(names.index(name) for name in tokens)
    logprobs = tuple(math.log(p) for p in tokens.values())
    nodes = (
        Node(-1, "user", "Which?"),
        Node(0, "assistant", "".join(tokens), ids, (1,) * len(ids), logprobs),
    )
    played = Trajectory(CASE.id, f"hf:{model}", 0, 0, "sampled", nodes, answer="B", reward=0.0)
    return played, Pieces(model.parent)


def test_the_tokens_of_the_answer_give_its_probability(tmp_path: Path) -> None:
    tokens = {"<think>": 0.1, "B": 0.2, "</think>": 0.3, "<answer>": 0.4, "ban": 0.5, "ded": 0.6,
              "</answer>": 0.7}  # fmt: skip
    played, pieces = sampled(tokens, tmp_path / "m")
    outcome = outcome_of(CASE, replace(played, answer="banded"), pieces=pieces)
    assert outcome.answer_probability == pytest.approx(0.5 * 0.6)
    assert outcome.stated_confidence is None
    assert outcome_of(CASE, played).answer_probability is None, "no tokenizer was given"
    silent = replace(played, answer=None)
    assert outcome_of(CASE, silent, pieces=pieces).answer_probability is None
    (tmp_path / "m" / "tokenizer.json").unlink()
    assert outcome_of(CASE, played, pieces=Pieces(tmp_path)).answer_probability is None


def outcomes(count: int, **changed: Any) -> Iterator[CaseOutcome]:
    first = outcome_of(CASE, Trajectory(CASE.id, "x", 0, 0, "text", (), answer="B"))
    for number in range(count):
        yield replace(first, case=str(number), group=str(number), **changed)


def test_a_confidence_is_compared_with_the_answers(tmp_path: Path) -> None:
    right = [*outcomes(30, stated_confidence=0.75)]
    wrong = [replace(each, case=f"w{each.case}", group=f"w{each.group}", verdict="wrong")
             for each in outcomes(10, stated_confidence=0.75)]  # fmt: skip
    silent = [replace(each, case=f"s{each.case}", answer=None, verdict="unanswered")
              for each in outcomes(9)]  # fmt: skip
    played = [*right, *wrong, *silent]
    found = calibrations(played)
    assert list(found) == ["stated"]
    assert found["stated"]["n"] == 40
    assert found["stated"]["error"]["value"] == pytest.approx(0.0)
    assert found["stated"]["brier"]["value"] == pytest.approx(3 / 16)
    json.dumps(found, allow_nan=False)
    random.Random(0).shuffle(played)
    assert calibrations(played) == found
    assert calibrations(right[: FEWEST - 1]) == {}
    ((source, count, *_),) = calibration_rows(found)
    assert (source, count) == ("stated", "40")
    write_outcomes(tmp_path, played)
    assert calibrations(read_outcomes(tmp_path) or ()) == found


def test_the_most_confident_answers_are_kept_first() -> None:
    sure = [*outcomes(20, answer_probability=0.9)]
    unsure = [replace(each, case=f"u{each.case}", group="one", verdict="wrong")
              for each in outcomes(20, answer_probability=0.2)]  # fmt: skip
    half, *_, whole = calibrations([*unsure, *sure])["tokens"]["kept"]
    assert half["accuracy"]["value"] == 1.0
    assert half["accuracy"]["n"] == 20
    assert whole["accuracy"]["value"] == 0.5


def test_repeats_agree_on_an_answer() -> None:
    def case(number: int, *answers: str) -> Iterator[CaseOutcome]:
        (one,) = outcomes(1)
        for member, answer in enumerate(answers):
            verdict = "right" if answer == "B" else "wrong"
            yield replace(
                one, case=str(number), group=str(number), member=member, answer=answer,
                verdict=verdict,
            )  # fmt: skip

    played = [each for n in range(20) for each in case(n, "B", "b", "A", "B")]
    found = calibrations(played)["agreement"]
    assert found["n"] == 20
    (only,) = found["bins"]
    assert (only["confidence"], only["right"]) == (0.75, 1.0)
    assert calibrations(case(1, *"B" * 40)) == {}, "one case says nothing"


def test_subgroups_have_intervals_over_groups_and_small_ones_are_marked() -> None:
    many = [*outcomes(SMALL, modality="CT")]
    few = [replace(each, case=f"m{each.case}", group="one", modality=None, verdict="wrong")
           for each in outcomes(3)]  # fmt: skip
    failed = [replace(each, verdict="failed", modality="MR") for each in outcomes(1)]
    found = subgroups([*few, *many, *failed])
    assert list(found) == ["modality"], "only kinds of which there are several values"
    assert list(found["modality"]) == ["CT", "not given"]
    assert "small" not in found["modality"]["CT"]
    assert found["modality"]["not given"]["groups"] == 1
    assert found["modality"]["not given"]["accuracy"]["high"] == 1.0, "one group says nothing"
    rows = subgroup_rows(found, "modality")
    assert [row[0] for row in rows] == ["CT", "not given *"]
    parts = [replace(each, body_part=each.case) for each in outcomes(LISTED + 5)]
    assert list(subgroups(parts)["body_part"])[-1] == "5 others"


def test_kinds_are_named() -> None:
    assert kinds_named("modality, body-part") == ("modality", "body_part")
    with pytest.raises(UserError, match="is no kind of case; fix: choose from modality"):
        kinds_named("colour")
