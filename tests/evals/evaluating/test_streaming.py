"""Episodes are judged as they end, and forgotten."""

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from medgym.cases import Case, CaseList, case_hash, open_cases
from medgym.episode import Rules
from medgym.evals import seen_cases
from medgym.evals.evaluating.benchmark import Benchmark
from medgym.evals.evaluating.judging import JudgedBenchmark, judge_benchmarks
from medgym.evals.evaluation import Evaluation
from medgym.evals.judges.tally import VqaTally
from medgym.evals.outcomes import packed, table
from medgym.evals.outcomes.outcome import outcome_of
from medgym.evals.outcomes.packed import PackedRows
from medgym.evals.outcomes.table import read_outcomes, write_outcomes
from medgym.evals.seen_cases import REMEMBERED, SeenCases
from medgym.judge import Judge, Judgement, load_judge
from medgym.policy import Sampling, load_policy
from medgym.rollout import collect
from medgym.storage.run_folder import RunFolder
from medgym.suite import Suite
from medgym.tally import tally_of
from medgym.trajectory import Trajectory

FEW, MANY = 50, 400
RULES = Rules(view_size=64)


class Numbered(Sequence[Case]):
    """So many cases, made when they are asked for."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._first = open_cases("phantom,look=ct,size=256:test[:1]")[0]

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        case_id = f"phantom/test/{range(self._count)[index]}"
        return self._first.model_copy(update={"id": case_id, "group": case_id})


@pytest.fixture(scope="module")
def played() -> list[tuple[Case, Trajectory]]:
    cases = open_cases("phantom,look=ct,size=256:test[:24]")
    found = collect(cases, "scripted:random", RULES, ordered=True)
    return list(zip(cases, found, strict=True))


def stored(path: Path, one: Trajectory, cases: CaseList) -> RunFolder:
    """A run that holds an episode of each case."""
    folder = RunFolder.create(path, {"x": 1})
    for first in range(0, len(cases), FEW):
        folder.trajectories.write([
            replace(one, case_id=case.id, case_hash=case_hash(case))
            for case in cases[first : first + FEW]
        ])  # fmt: skip
    return folder


def judged(folder: RunFolder, cases: CaseList) -> JudgedBenchmark:
    suite = Suite("", {"": "many"}, sampling=Sampling())
    where = {"backend": "local", "concurrency": 8}
    evaluation = Evaluation(load_policy("scripted:random"), suite, 0, 1, 0.0, where)
    return judge_benchmarks(load_judge(), evaluation, {"": Benchmark(cases, RULES)}, folder)[""]


@pytest.mark.usefixtures("no_progress")
def test_ten_times_the_cases_take_hardly_more_memory(
    played: list[tuple[Case, Trajectory]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen_cases, "REMEMBERED", 8)
    monkeypatch.setattr(packed, "TOGETHER", 16)
    peaks = []
    for name, count in (("warm", 1), ("few", FEW), ("many", MANY)):
        cases = CaseList(Numbered(count))
        folder = stored(tmp_path / name, played[0][1], cases)
        tracemalloc.start()
        found = judged(folder, cases)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (found.judgement.case_count, len(found.outcomes)) == (count, count)
    assert (peaks[2] - peaks[1]) / (MANY - FEW) < 2_000, peaks


@pytest.mark.usefixtures("no_progress")
def test_what_was_stored_is_judged_by_the_scorers_of_today(
    played: list[tuple[Case, Trajectory]], tmp_path: Path
) -> None:
    cases = CaseList(Numbered(3))
    one = replace(played[0][1], answer=cases[0].answer, correct=False)  # as once it was judged
    found = judged(stored(tmp_path, one, cases), cases)
    assert found.judgement.accuracy.value == 1
    assert all(each.verdict == "right" for each in found.outcomes)


def test_the_order_in_which_episodes_end_changes_no_figure(
    played: list[tuple[Case, Trajectory]], tmp_path: Path
) -> None:
    grouped = [
        (case.model_copy(update={"group": f"g{place % 5}"}), trajectory)
        for place, (case, trajectory) in enumerate(played)
    ]
    found, written = [], []
    for name, pairs in (("a", grouped), ("b", grouped[::-1]), ("c", grouped[7:] + grouped[:7])):
        tally, outcomes = VqaTally("x"), PackedRows(outcome_of(*pair) for pair in pairs)
        for pair in pairs:
            tally.add(*pair)
        found.append(tally.judgement())
        (tmp_path / name).mkdir()
        written.append(write_outcomes(tmp_path / name, outcomes).read_bytes())
    assert found[0] == found[1] == found[2]
    assert found[0].accuracy.n == 24
    assert written[0] == written[1] == written[2]
    outcomes = sorted((outcome_of(*pair) for pair in grouped), key=lambda each: each.key)
    assert read_outcomes(tmp_path / "b") == outcomes


def test_a_judge_that_knows_no_stream_gets_all_episodes_in_order(
    played: list[tuple[Case, Trajectory]],
) -> None:
    given: list[list[str]] = []

    def mine(policy: Any, cases: Sequence[Case], rules: Rules, **more: Any) -> Judgement:
        given.append([case.id for case in cases])
        assert [each.case_id for each in more["trajectories"]] == given[-1]
        return load_judge()(policy, cases, rules, **more)

    policy, cases = load_policy("scripted:random"), open_cases("phantom,look=ct,size=256:test[:24]")
    how: dict[str, Any] = {"sampling": Sampling(), "seed": 0}
    judgements = []
    judges: list[Judge] = [mine, load_judge()]
    for judge in judges:
        tally = tally_of(judge, "mine", policy, cases, RULES, **how)
        for pair in played[::-1]:
            tally.add(*pair)
        judgements.append(tally.judgement().as_dict())
    assert given == [[case.id for case in cases]]
    assert judgements[0] == judgements[1]


def test_cases_are_found_again_though_few_are_remembered() -> None:
    cases = CaseList(Numbered(1000))
    seen = SeenCases(cases)
    for place in range(REMEMBERED + 9):
        assert seen.find(seen[place].id) == cases[place]
    assert len(seen._seen) == REMEMBERED
    assert seen.find(cases[3].id) == cases[3]
    assert [seen.find_in_turn(cases[place].id) for place in (700, 2, 699)] == [
        cases[700], cases[2], cases[699],
    ]  # fmt: skip


def test_the_table_of_outcomes_is_written_part_by_part(
    played: list[tuple[Case, Trajectory]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty times the rows take no more memory of pyarrow's, and come in the order of their
    keys."""
    monkeypatch.setattr(table, "ROW_GROUP", 32)
    one, whole = outcome_of(*played[0]), pyarrow.default_memory_pool()
    peaks = []
    for count in (100, 2_000):
        rows = [replace(one, case=f"c/{place:05}") for place in range(count)]
        pool = pyarrow.proxy_memory_pool(whole)
        pyarrow.set_memory_pool(pool)
        try:
            write_outcomes(tmp_path, rows[::2] + rows[1::2])
        finally:
            pyarrow.set_memory_pool(whole)
        peaks.append(pool.max_memory() or 0)
        assert read_outcomes(tmp_path) == rows
    assert peaks[1] < 1.5 * peaks[0], peaks
