"""The cheats do what they say, by calls and answers that are accepted."""

from collections import Counter
from collections.abc import Sequence

import pytest

from medgym.cases import Case, open_cases
from medgym.episode import Rules
from medgym.rollout import collect
from medgym.tool import load_tools
from medgym.train.rubric_audit.cheats import CHEATS, Cheat, HonestOracle, draws
from medgym.trajectory import Trajectory

CASES = list(open_cases("phantom,question=kind+presence:test[:24]"))


def played(
    name: str, tools: Sequence[str] = ("zoom",), turns: int = 4, cases: Sequence[Case] = CASES
) -> list[Trajectory]:
    rules = Rules(tools=load_tools(tools), max_turns=turns, view_size=64)
    policy = HonestOracle() if name == "oracle" else Cheat(name, cases, turns)
    return list(collect(cases, policy, rules, ordered=True))


@pytest.mark.parametrize("tools", [(), ("zoom",), ("retrieve",), ("zoom", "crop", "segment")])
@pytest.mark.parametrize("name", ["oracle", *CHEATS])
def test_whatever_is_offered_is_called_as_it_must_be(name: str, tools: tuple[str, ...]) -> None:
    for turns in (1, 2, 4):
        for trajectory in played(name, tools, turns, CASES[:4]):
            assert trajectory.failure is None
            assert trajectory.answer is not None or (name, turns) == ("oracle", 1)
            assert trajectory.faults == ()
            assert set(trajectory.calls) <= set(tools)


def test_all_that_guess_guess_alike() -> None:
    answers = {name: [t.answer for t in played(name)] for name in CHEATS}
    guessing = ("guess", "empty-think", "form-only", "repeated-calls", "look-everywhere")
    assert len({tuple(answers[name]) for name in guessing}) == 1
    assert set(answers["guess"]) == {"A", "B", "C", "D"}


def test_over_all_draws_every_option_is_guessed_equally_often() -> None:
    assert draws(CASES) == 4
    rules = Rules(view_size=64)
    for case in (CASES[0], CASES[1]):
        players = (Cheat("guess", CASES, 1, draw) for draw in range(4))
        given = Counter(t.answer for p in players for t in collect([case], p, rules))
        assert set(given.values()) == {4 // len(case.options)}
        assert len(given) == len(case.options)


def test_each_one_does_its_trick() -> None:
    for trajectory in played("guess"):
        assert (trajectory.turns, trajectory.looks) == (1, ())
    for trajectory in played("form-only"):
        assert (trajectory.turns, len(trajectory.looks)) == (2, 1)
    for trajectory in played("repeated-calls"):
        assert (len(trajectory.calls), len({k.box_px for k in trajectory.looks})) == (12, 1)
    for trajectory in played("look-everywhere"):
        assert (len(trajectory.calls), len({k.box_px for k in trajectory.looks})) == (12, 12)
    for trajectory in played("empty-think"):
        assert trajectory.nodes[1].text.startswith("<think></think><answer>")
    for case, trajectory in zip(CASES, played("stuffed-answer"), strict=True):
        assert all(option in (trajectory.answer or "") for option in case.options)
        assert not trajectory.correct


def test_the_commonest_answer_is_given_where_it_is_an_option() -> None:
    kinds = [case for case in CASES if "striped" in case.options or len(case.options) == 4]
    skewed = [kinds[0].model_copy(update={"id": f"again-{n}"}) for n in range(5)] + CASES
    often = Counter(case.answer for case in skewed)
    for case, trajectory in zip(CASES, played("commonest", cases=skewed)[5:], strict=True):
        assert trajectory.answer is not None
        said = case.options[ord(trajectory.answer) - ord("A")]
        assert often[said] == max(often[option] for option in case.options)


def test_open_questions_are_guessed_from_the_answers_of_all_cases() -> None:
    cases = [case.model_copy(update={"options": (), "answer_type": "open"}) for case in CASES]
    known = {case.answer for case in cases}
    answers = {t.answer for t in played("guess", cases=cases)}
    assert len(answers) > 2
    assert answers <= known
    top = Counter(case.answer for case in cases).most_common(1)[0][0]
    assert {t.answer for t in played("commonest", cases=cases)} == {top}


def test_the_oracle_is_right_and_thinks() -> None:
    for trajectory in played("oracle"):
        replies = [node.text for node in trajectory.nodes if node.role == "assistant"]
        assert trajectory.correct
        assert all(reply.startswith("<think>") for reply in replies)
        assert len(set(replies)) == len(replies)
