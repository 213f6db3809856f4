"""The doctor says whether the image processor resamples views, and which view size to set."""

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("trl")

from PIL import Image
from transformers import Qwen2VLImageProcessor

from medgym.commands.shared_options import cases_and_rules
from medgym.messages import ImagePart, message
from medgym.train.doctor.checks import Check
from medgym.train.doctor.subject import Shown, Subject
from medgym.train.doctor.view_size import view_size


def checked(side: int, *sizes: tuple[int, int], least: int = 3136, patch: int = 14) -> Check:
    """The check of episodes that show views of these sizes, at a view size."""
    processor: Any = Qwen2VLImageProcessor(
        patch_size=patch, size={"shortest_edge": least, "longest_edge": 1_003_520}
    )
    cases, rules = cases_and_rules("phantom:test[:1]", tools=())
    subject = Subject(None, processor, cases, replace(rules, view_size=side))
    first, *others = (ImagePart(i, Image.new("RGB", size)) for i, size in enumerate(sizes))
    said = [message("user", "?", [first]), *(message("tool", "", [each]) for each in others)]
    vars(subject)["shown"] = (Shown(cases[0], conversation=said), Shown(cases[0], failure="no"))
    return view_size(subject)


def test_views_that_arrive_as_they_are_pass() -> None:
    check = checked(448, (448, 448), (448, 336))
    assert (check.verdict, check.fix) == ("pass", "")
    assert check.figure == {
        "before": "448x448", "after": "448x448", "views": 2, "resized": 0, "factor": 28,
    }  # fmt: skip


def test_a_view_size_that_is_resampled_is_named_with_a_better_one() -> None:
    check = checked(512, (512, 512), (512, 512))
    assert check.verdict == "warn"
    assert check.figure["before"] == "512x512"
    assert check.figure["after"] == "504x504"
    assert check.figure["resized"] == 2
    assert check.fix.startswith("set view_size 504 (")
    assert checked(504, (504, 504)).verdict == "pass"


def test_sides_that_are_rounded_need_a_view_multiple() -> None:
    check = checked(448, (448, 300), (448, 448), (311, 448))
    assert check.verdict == "warn"
    assert check.figure["resized"] == 2
    assert check.fix.startswith("set view_multiple 28 (")


def test_a_view_below_the_models_least_is_said_to_be_enlarged() -> None:
    check = checked(448, (448, 448), (64, 64), least=65_536, patch=16)
    assert check.verdict == "warn"
    assert check.figure["worst"] == "64x64 to 256x256"
    assert "enlarged" in check.fix


def test_phantoms_that_qwen3_enlarges_are_told_what_to_set() -> None:
    check = checked(64, (64, 64), least=65_536, patch=16)
    assert check.verdict == "warn"
    assert check.fix.startswith("set view_size 256 (")
