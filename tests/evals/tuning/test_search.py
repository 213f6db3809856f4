from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgym.cases import Case, open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.evals.evaluation import Evaluation
from medgym.evals.tuning.grammar import SLOTS, Candidate, candidates
from medgym.evals.tuning.halving import cost, halve, planned, rungs
from medgym.evals.tuning.trials import Trials
from medgym.imaging.study import ImageRef
from medgym.messages import Message, Reply, render_answer
from medgym.policy import Policy, Sampling
from medgym.suite import Suite

LETTER = SLOTS["answer"][3]
STEPS = SLOTS["think"][1]


class Obedient(Policy):
    """Right with a probability that depends on what its prompt says; wrong otherwise."""

    spec = "obedient"
    needs_gold = True

    def __init__(self, case: Case | None = None) -> None:
        self._case = case

    def for_case(self, case: Case) -> Policy:
        return Obedient(case)

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        assert self._case is not None
        told = conversation[0].text
        share = 0.4 + 0.35 * (LETTER in told) + 0.15 * (STEPS in told)
        right = np.random.default_rng(sampling.seed).random() < share
        options = self._case.options
        place = options.index(self._case.answer)
        return Reply(render_answer("ABCD"[place if right else (place + 1) % len(options)]))


def trials(split: str, count: int, folder: Path) -> Trials:
    """Of phantoms with one small image, so that episodes are cheap: the policy reads the prompt."""
    Image.new("RGB", (16, 16)).save(folder / "small.png")
    image = ImageRef(uri=f"file:{folder / 'small.png'}")
    phantoms = open_cases(f"phantom,look=ct,question=kind:{split}[:{count}]")
    made = [case.model_copy(update={"images": (image,), "regions": ()}) for case in phantoms]
    cases = open_cases(made)
    suite = Suite(name="", benchmarks={"": split}, sampling=Sampling(temperature=0.0))
    evaluation = Evaluation(Obedient(), suite, 0, 1, 0.05, {"concurrency": 16})
    return Trials(evaluation, cases, Rules.for_cases(cases))


def test_the_tuned_prompt_beats_none_on_held_out_cases(tmp_path: Path) -> None:
    found = candidates(12, seed=1, tools=True)
    on_validation = trials("validation", 60, tmp_path)
    plan = planned(12, 60, budget=600)
    chosen = halve(found, plan, on_validation)
    assert on_validation.episodes <= cost(plan) <= 600
    assert LETTER in chosen.prompt
    held_out = trials("test", 100, tmp_path)
    for each in (found[0], chosen):
        held_out.play(each, 100)
    gain = held_out.gain(found[0], chosen)
    assert gain.outcome == "win"
    assert gain.permutation < 0.01


def test_a_prompt_must_beat_no_prompt(tmp_path: Path) -> None:
    same = [Candidate(0), Candidate(1, "Be kind."), Candidate(2, "Be quick.")]
    tried = trials("validation", 9, tmp_path)
    assert halve(same, planned(3, 9, 100), tried).number == 0


@pytest.mark.parametrize("cases", [1, 7, 8, 40, 200, 5000])
def test_a_plan_keeps_its_budget_and_ends_on_all_cases(cases: int) -> None:
    for count in (2, 3, 5, 16, 100):
        plan = rungs(count, cases)
        assert (plan[0].candidates, plan[-1].cases) == (count, cases)
        assert cost(plan) <= count * cases
        for budget in (2 * cases, 5 * cases):
            assert cost(planned(count, cases, budget)) <= budget


def test_a_budget_for_less_than_two_prompts_is_refused() -> None:
    with pytest.raises(UserError, match=r"take 80 episodes, and the budget leaves 79; fix: "):
        planned(16, 40, 79)


def test_candidates_differ_and_the_seed_gives_them_again() -> None:
    examples = open_cases("phantom:train[:20]")
    drawn = [candidates(20, seed, tools=True, examples=examples, shots=3) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0][0] == Candidate(0)
    assert len({each.prompt for each in drawn[0]}) == 20
    assert [each.number for each in drawn[0]] == list(range(20))
    worked = [each for each in drawn[0] if each.examples]
    assert worked
    for each in worked:
        assert len(each.examples) <= 3
        for case_id in each.examples:
            case = examples.find(case_id)
            assert case.question in each.prompt
            right = "ABCD"[case.options.index(case.answer)] if case.options else case.answer
            assert render_answer(right) in each.prompt


def test_without_tools_no_prompt_speaks_of_them() -> None:
    found = candidates(200, 0, tools=False)
    assert not any("look" in each.choices for each in found)
    # The grammar without it is small, and what it has is all that is tried.
    assert len(found) == 4 * 4 * 4
