"""The bound of the risk holds as often as it says, whatever the risks are; by simulation."""

import json
from pathlib import Path

import numpy as np
import pytest

from medgym.cases import Case, CaseList, open_cases, write_cases
from medgym.errors import RunError, UserError
from medgym.tools.retrieve.index.calibrate import calibrate, missed, read_losses
from medgym.tools.retrieve.index.manifest import read_manifest
from medgym.tools.retrieve.index.risk import p_values, smallest_safe
from medgym.tools.retrieve.index.search import open_index
from medgym.tools.retrieve.tool import Retrieve
from tests.tools.retrieve.conftest import plain_case
from tests.tools.retrieve.planted import built

RISKS = (
    (0.201, 0.201, 0.201, 0.201, 0.201),  # all just too high: the hardest
    (0.5, 0.3, 0.21, 0.19, 0.1),
    (0.25, 0.22, 0.201, 0.15, 0.05),
    (0.05, 0.1, 0.201, 0.3, 0.5),  # more documents mislead
)


@pytest.mark.parametrize("risks", RISKS)
@pytest.mark.parametrize("kind", ["zero or one", "between"])
def test_the_bound_holds_in_95_of_100_simulations(risks: tuple[float, ...], kind: str) -> None:
    alpha, delta, count, cases = 0.2, 0.05, 1000, 150
    chance = np.random.default_rng(0)
    if kind == "zero or one":
        # One coin for all k, as of one case: tests of different k are not independent.
        losses = (chance.random((count, cases, 1)) < np.array(risks)).astype(float)
    else:
        shape = np.array(risks) * 4
        losses = chance.beta(shape, 4 - shape, (count, cases, len(risks)))
    chosen = smallest_safe(p_values(losses, alpha), delta)
    wrong = (chosen >= 0) & (np.array(risks)[chosen] > alpha)
    assert wrong.mean() <= delta
    assert wrong.reshape(-1, 100).sum(axis=1).max() <= 12  # of each hundred too, as chance has it


def test_a_low_risk_is_proven_and_the_least_k_is_chosen() -> None:
    chance = np.random.default_rng(1)
    risks = np.array([0.5, 0.05, 0.04, 0.03, 0.02])
    losses = (chance.random((200, 150, 5)) < risks).astype(float)
    assert (smallest_safe(p_values(losses, 0.2), 0.05) == 1).mean() > 0.95


def test_losses_of_a_policy_are_read_and_their_faults_named(tmp_path: Path) -> None:
    file = tmp_path / "losses.jsonl"
    rows = [{"case": c, "k": k, "loss": 0.5} for k in (1, 2) for c in "ab"]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert read_losses(file) == {1: [0.5, 0.5], 2: [0.5, 0.5]}
    for wrong, said in (
        ([*rows, {"case": "a", "k": 9, "loss": 0}], "line 5 is no"),
        ([*rows, rows[0]], "line 5: 'a' has two losses at k=1"),
        (rows[:3], "'b' has no loss at k=2"),
        ([], "holds no losses"),
    ):
        file.write_text("\n".join(map(json.dumps, wrong)))
        with pytest.raises(UserError, match=said):
            read_losses(file)


def test_an_index_is_calibrated_on_held_out_cases(tmp_path: Path) -> None:
    lines = [
        {"id": f"{n}-{m}", "text": f"thing{n} " * (3 - m) + ("" if m else "nothing else is told")}
        for n in range(40)
        for m in range(2)
    ]
    for n in range(40):  # the second passage has the answer
        lines[2 * n + 1]["text"] += f"is colour{n}"
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, lines)))
    index = built([str(tmp_path / "p.jsonl")], tmp_path / "ix")
    cases = [
        plain_case(f"h{n}", question=f"What is thing{n}?", answer=f"colour{n}", split="validation")
        for n in range(40)
    ]
    again = plain_case("h0b", question="x", answer="y", group="h0", split="validation")
    losses = missed(open_index(index), _listed([*cases, again], tmp_path), lambda n: None)
    assert [len(losses[k]) for k in losses] == [40] * 5  # one case of a group
    assert sum(losses[2]) == 0
    made = calibrate(index, losses, 0.2, 0.1, "missed", "cases")
    assert read_manifest(index).calibration == made
    assert made.k == (1 if sum(losses[1]) < 2 else 2)
    assert Retrieve(index=index, select="calibrated").schema() != Retrieve(index=index).schema()
    with pytest.raises(RunError, match=r"no k keeps the risk under 0.2 .*fix: give more cases"):
        calibrate(index, {k: [1.0] * 40 for k in range(1, 6)}, 0.2, 0.1, "missed", "cases")
    assert read_manifest(index).calibration == made


def _listed(cases: list[Case], folder: Path) -> CaseList:
    write_cases(cases, folder / "held.jsonl")
    return open_cases(folder / "held.jsonl")
