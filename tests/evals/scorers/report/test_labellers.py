"""The labellers that a user may have installed, with stand-ins of their packages' interfaces.

The packages and their weights are not here; what runs is all that is medgym's own.
"""

import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from medgym.errors import UserError
from medgym.evals.scorers.report.labellers import load_labeller

REPORTS = ["edema", "edema pneumonia", "", "normal"]
GOLDS = ["edema", "pneumonia", "edema", "normal"]
GROUPS = ["a", "a", "b", "c"]


class F1RadGraph:
    """As radgraph 0.1.18 has it: a mean, a list, and the graphs of both."""

    def __init__(self, reward_level: str) -> None:
        assert reward_level == "partial"
        assert os.environ["HF_HUB_OFFLINE"] == os.environ["TRANSFORMERS_OFFLINE"] == "1"

    def __call__(self, hyps: list[str], refs: list[str]) -> tuple[Any, ...]:
        each = [float(one == other) for one, other in zip(hyps, refs, strict=True)]
        return float(np.mean(each)), each, [], []


class F1CheXbert:
    """As f1chexbert has it: labels of one report, and the places of the five."""

    target_names_5_index = np.array([0])

    def get_label(self, report: str) -> list[int]:
        return [int(word in report) for word in ("edema", "pneumonia", "normal")]


def load(package: str) -> Any:
    return SimpleNamespace(F1RadGraph=F1RadGraph, F1CheXbert=F1CheXbert)


def test_radgraph_is_a_mean_over_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    (found,) = load_labeller("radgraph", load)(REPORTS, GOLDS, GROUPS).values()
    assert (found.value, found.n, found.groups) == (0.5, 4, 3)
    assert found.low < 0.5 < found.high
    assert "HF_HUB_OFFLINE" not in os.environ


def test_chexbert_is_micro_f1_of_its_labels() -> None:
    found = load_labeller("chexbert", load)(REPORTS, GOLDS, GROUPS)
    every, five = found.values()
    assert every.value == pytest.approx(2 * 3 / (4 + 4))
    assert five.value == pytest.approx(2 * 1 / (2 + 2))
    assert 0 <= every.low <= every.value <= every.high <= 1


@pytest.mark.parametrize("name", ["radgraph", "chexbert"])
def test_what_is_not_installed_is_one_line(name: str) -> None:
    with pytest.raises(UserError, match=rf"{name} needs the package .*; fix: pip install .*{name}"):
        load_labeller(name)


def test_weights_that_are_not_here_are_one_line() -> None:
    def broken(package: str) -> Any:
        def model(**_: object) -> None:
            raise OSError("offline")

        return SimpleNamespace(F1RadGraph=model, F1CheXbert=model)

    with pytest.raises(UserError, match=r"model of radgraph cannot be loaded .*fetches no weights"):
        load_labeller("radgraph", broken)
    with pytest.raises(UserError, match="unknown labeller 'bertscore'"):
        load_labeller("bertscore", broken)
