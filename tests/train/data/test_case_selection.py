"""The curator keeps what is rare, thins out what is common, and says why."""

from typing import Any

import numpy as np
import pytest
import torch

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.registry import load
from medgym.tool import load_tools
from medgym.train.data.case_selection import Matrix, curate, represent
from tests.families import FAMILIES, build

RULES = Rules(tools=load_tools(["zoom"]), max_turns=2, view_size=64)


def around(centre: int, count: int, rng: np.random.Generator, spread: float = 0.05) -> Matrix:
    """`count` points near one of 8 directions, each of length 1."""
    points = np.eye(8)[centre] + spread * rng.standard_normal((count, 8))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


@pytest.fixture
def lopsided() -> Matrix:
    """300 cases of a common kind, then 20 of each of three rare ones."""
    rng = np.random.default_rng(0)
    return np.concatenate([around(0, 300, rng), *(around(k, 20, rng) for k in (1, 2, 3))])


def test_the_share_that_is_asked_for_is_kept(lopsided: Matrix) -> None:
    curated = curate(lopsided, 0.25, seed=0)
    assert len(curated.kept) == 90
    assert list(curated.kept) == sorted(set(curated.kept))
    assert set(curated.kept) | curated.left_out.keys() == set(range(360))
    assert not set(curated.kept) & curated.left_out.keys()
    assert set(curated.left_out.values()) == {"outlier", "redundant"}


def test_the_rare_are_kept_rather_than_the_common(lopsided: Matrix) -> None:
    kept = np.array(curate(lopsided, 0.25, seed=0).kept)
    common, rare = (kept < 300).mean() * 90 / 300, (kept >= 300).mean() * 90 / 60
    assert rare > 2 * common


def test_copies_are_redundant() -> None:
    rng = np.random.default_rng(1)
    different = around(0, 40, rng, spread=0.3)
    copies = np.repeat(different[:1], 120, axis=0)
    kept = curate(np.concatenate([copies, different]), 0.2, seed=0).kept
    assert sum(index < 120 for index in kept) < 6


def test_of_cases_alike_the_more_informative_are_kept() -> None:
    features = around(0, 100, np.random.default_rng(2))
    weights = np.where(np.arange(100) % 2 == 0, 1.0, 0.05)
    kept = np.array(curate(features, 0.3, seed=0, weights=list(weights)).kept)
    assert (kept % 2 == 0).mean() > 0.7


def test_the_same_seed_chooses_the_same(lopsided: Matrix) -> None:
    assert curate(lopsided, 0.3, seed=4) == curate(lopsided, 0.3, seed=4)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_few_cases_are_no_error(count: int) -> None:
    features = around(0, count, np.random.default_rng(3))
    assert curate(features, 0.5, seed=0).kept


@pytest.mark.parametrize("family", FAMILIES)
def test_a_case_is_represented_by_what_it_shows_and_asks(family: str) -> None:
    model, processor = build(family)
    student = load("policies", "hf")(model, processor)
    cases: Any = [
        *open_cases("phantom,look=radiograph,question=kind:train[:2]"),
        *open_cases("phantom,look=radiograph,question=kind:train[:1]"),
        *open_cases("phantom,look=fundus,question=side:train[:1]"),
    ]
    rows = represent(cases, student, RULES)
    assert rows.shape == (4, 2 * model.config.get_text_config().hidden_size)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1)
    assert np.allclose(rows[0], rows[2], atol=1e-5)
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=-1)
    assert apart[0, 1] > 1e-4
    assert apart[0, 3] > apart[0, 1]
    assert not any(weight.grad is not None for weight in model.parameters())
    assert torch.is_grad_enabled()
