"""On phantoms: what variants do to a policy that reads what it sees, and to one that does not."""

from collections.abc import Sequence

import numpy as np

from medgym.agents.scripted.policy import Oracle, Prior, _CaseOracle
from medgym.agents.scripted.windows import Lattice
from medgym.cases import LETTERS, Case
from medgym.evals.evaluating.benchmark import open_benchmarks
from medgym.evals.evaluating.judging import judge_benchmarks
from medgym.evals.evaluation import Evaluation
from medgym.evals.robustness.figures import VariantFigures
from medgym.evals.robustness.plan import suite_of, variant_sets, with_rules
from medgym.evals.robustness.report import SetReport, remarks, report
from medgym.evals.robustness.variants import chosen_variants
from medgym.judge import load_judge
from medgym.messages import Message, render_answer
from medgym.policy import Policy
from medgym.suite import Suite

CASES = "phantom,question=kind,look=radiograph:test[:20]"
CHANCE = 0.25


class Reader(Oracle):
    """Knows where the lesion is, and names the texture that it sees there."""

    spec = "reader"

    def for_case(self, case: Case) -> Policy:
        return _CaseReader(case, Lattice())


class _CaseReader(_CaseOracle):
    def reply(self, conversation: Sequence[Message], rng: np.random.Generator) -> str:
        if len(conversation) == 2:
            return super().reply(conversation, rng)
        view = np.asarray(conversation[-1].images[0].image.convert("L"), float)
        kind = texture(view)
        return render_answer(LETTERS[self._case.options.index(kind)])


def texture(view: np.ndarray) -> str:  # type: ignore[type-arg]
    """Along which of four directions grey does not change."""

    def change(down: int, across: int) -> float:
        rows, columns = np.arange(4, view.shape[0] - 4), np.arange(4, view.shape[1] - 4)
        moved = view[np.ix_(rows + down, columns + across)]
        return float(((moved - view[np.ix_(rows, columns)]) ** 2).mean())

    flat = {
        "banded": change(0, 3), "striated": change(3, 0), "oblique": change(3, -3),
        "granular": 0.7 * change(3, 3),
    }  # fmt: skip
    return min(flat, key=lambda kind: flat[kind])


def played(policy: Policy, names: str, of: str = CASES, severities: str = "5") -> SetReport:
    """A robustness run of a policy on phantoms."""
    plain = Suite(name="", benchmarks={"": of})
    sets = variant_sets(plain, chosen_variants(names, severities), None, None)
    suite = suite_of(plain, sets, None, None)
    benchmarks = with_rules(sets, open_benchmarks(suite))
    evaluation = Evaluation(policy, suite, 0, 1, 0.0, {"concurrency": 16})
    found = judge_benchmarks(load_judge("vqa"), evaluation, benchmarks)
    cases = {name: each.cases for name, each in benchmarks.items()}
    return report(sets[0], cases, {name: each.outcomes for name, each in found.items()})


def by_name(found: SetReport) -> dict[str, VariantFigures]:
    return {str(each.variant): each for each in found.variants}


def test_a_policy_that_reads_what_it_sees_falls_to_chance_where_there_is_nothing_to_see() -> None:
    found = by_name(played(Reader(), "blank,other-views,options,paraphrase,gaussian-noise"))
    for name in ("blank", "other-views"):
        assert found[name].clean.value == 1.0
        assert found[name].accuracy.low <= CHANCE <= found[name].accuracy.high
        assert found[name].difference.outcome == "loss"
        assert found[name].adjusted < 0.01
    for name in ("options", "paraphrase"):
        assert (found[name].accuracy.value, found[name].same.value) == (1.0, 1.0)
        assert found[name].adjusted == 1.0
    assert found["gaussian-noise-5"].accuracy.value < 0.7
    assert found["gaussian-noise-5"].same.value < 0.7


def test_a_policy_that_knows_the_gold_is_told_that_it_looks_at_nothing() -> None:
    found = played(Oracle(), "exchanged,text-only", "phantom,question=kind:test[:8]")
    assert {each.clean.value for each in found.variants} == {1.0}
    assert {each.accuracy.value for each in found.variants} == {1.0}
    assert remarks(found)[-1].startswith("no change could be told by exchanged, text-only")


def test_a_policy_that_guesses_is_at_chance_with_and_without_images() -> None:
    (found,) = played(Prior(), "text-only", "phantom,question=kind:test[:60]").variants
    for each in (found.clean, found.accuracy):
        assert each.low <= CHANCE <= each.high
    assert found.difference.outcome == "tie"
