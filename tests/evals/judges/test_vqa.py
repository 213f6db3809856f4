import asyncio
import inspect
import itertools
import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import Case, CaseList, open_cases
from medgym.episode import Rules
from medgym.errors import RunError, UserError
from medgym.evals.judges.tally import VqaTally
from medgym.evals.judges.vqa import judge, judgement
from medgym.evals.tables import rows, withheld_rows
from medgym.failures import Failure, Withheld
from medgym.judge import Judgement, load_judge
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.metrics.rate import Rate
from medgym.policy import Policy, Sampling, load_policy
from medgym.tool import load_tools
from medgym.trajectory import Node, Trajectory

CASES = open_cases("phantom,question=kind:test[:24]")
RULES = Rules(tools=load_tools(["zoom"]), view_size=64)


class Says(Policy):
    """Gives the same replies in every episode."""

    def __init__(self, *replies: str) -> None:
        self.spec = "says"
        self._replies = replies

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        done = sum(m.role == "assistant" for m in conversation)
        return Reply(self._replies[min(done, len(self._replies) - 1)])


def judged(policy: Policy, cases: Sequence[Case] = CASES, rules: Rules = RULES) -> Judgement:
    return judge(policy, cases, rules, sampling=Sampling())


def test_it_is_the_judge_vqa() -> None:
    assert inspect.unwrap(load_judge()) is inspect.unwrap(load_judge("vqa")) is judge


def test_the_oracle_is_always_right_and_looks() -> None:
    found = judged(load_policy("scripted:oracle"))
    assert (found.accuracy.value, found.accuracy.n) == (1.0, 24)
    assert (found.answered, found.looked, found.hit, found.turns) == (1.0, 1.0, 1.0, 2.0)
    assert all(rate.value == 1.0 for rate in found.by_answer.values())
    assert sum(rate.n for rate in found.by_answer.values()) == 24


def test_one_who_always_says_the_same_is_right_on_that_alone() -> None:
    found = judged(Says(render_answer("A")))
    kind = CASES[0].options[0]
    assert {a: r.value for a, r in found.by_answer.items()} == {
        a: float(a == kind) for a in found.by_answer
    }
    assert found.accuracy.value == found.by_answer[kind].n / 24
    assert (found.answered, found.looked, found.hit) == (1.0, 0.0, 0.0)


def test_what_is_not_answered_is_wrong_not_left_out() -> None:
    found = judged(Says("I do not know."), rules=Rules(view_size=64, max_turns=2))
    assert (found.accuracy.value, found.accuracy.n) == (0.0, 24)
    assert (found.answered, found.turns) == (0.0, 2.0)


class Withholds(Says):
    """Gives no reply to some cases, as a server with a content filter does."""

    def __init__(self, *fates: Withheld | None) -> None:
        super().__init__(render_answer("A"))
        self._fates = itertools.cycle(fates)
        self._of: dict[str, Withheld | None] = {}

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        case = conversation[1].images[0].sha256
        fate = self._of.setdefault(case, next(self._fates))
        if fate is not None:
            raise Failure("policy", "http://h/v1 says no", final=True, withheld=fate)
        return await super().act(conversation, sampling)


def test_withheld_replies_are_counted_and_neither_right_nor_wrong() -> None:
    found = judged(Withholds("refused", None, "filtered", "refused"))
    assert {why: (r.value, r.n) for why, r in found.withheld.items()} == {
        "refused": (0.5, 24), "filtered": (0.25, 24)
    }  # fmt: skip
    assert found.accuracy.n == sum(rate.n for rate in found.by_answer.values()) == 6
    assert (found.answered, found.turns) == (1.0, 1.0)
    assert [t.case_id for t in found.trajectories] == [case.id for case in CASES]
    lost = [t for t in found.trajectories if t.failure is not None]
    assert {t.failure for t in lost} == {
        "refused: http://h/v1 says no", "filtered: http://h/v1 says no"
    }  # fmt: skip
    assert all(t.reward is None and not t.nodes for t in lost)
    shown = dict(rows(found, "outcome"))
    assert shown["cases"] == "6"
    assert shown["left out: refused"].startswith("50.0 % (95 % interval ")
    assert found.as_dict()["withheld"]["filtered"]["value"] == 0.25
    assert withheld_rows({"kind": found})[1][:2] == ("kind", "filtered")


def test_repeats_of_a_case_that_are_all_withheld_are_not_independent() -> None:
    tally = VqaTally("x")
    for number, case in enumerate(CASES):
        why = "refused: http://h/v1 says no" if number < 6 else None
        nodes = (Node(-1, "user", "?"), Node(0, "assistant", "no"))
        for member in range(4):
            tally.add(case, Trajectory(case.id, "x", 0, member, "text", nodes, failure=why))
    found = tally.judgement().withheld["refused"]
    assert (found.value, found.n) == (0.25, 96)
    independent = Rate.of([True] * 24 + [False] * 72)
    assert found.high - found.low > 1.5 * (independent.high - independent.low)


def test_where_every_reply_is_withheld_there_is_nothing_to_judge() -> None:
    with pytest.raises(RunError, match=r"no case has a reply \(empty: http.*; fix: "):
        judged(Withholds("empty"))


def test_a_look_beside_the_region_is_a_look_and_no_hit() -> None:
    look = render_call("zoom", {"view": 0, "box": [0, 0, 10, 10]})
    found = judged(Says(look, render_answer("A")))
    assert (found.looked, found.hit) == (1.0, 0.0)


def test_a_call_that_fails_is_no_look() -> None:
    look = render_call("zoom", {"view": 7, "box": [0, 0, 10, 10]})
    assert judged(Says(look, render_answer("A"))).looked == 0.0


def test_without_gold_regions_there_is_no_hit_rate() -> None:
    cases = [case.model_copy(update={"regions": ()}) for case in CASES]
    assert judged(load_policy("scripted:prior"), cases).hit is None


def test_answers_in_free_text_are_not_told_apart() -> None:
    cases = [case.model_copy(update={"options": (), "answer_type": "open"}) for case in CASES]
    found = judged(load_policy("scripted:oracle"), cases)
    assert (found.accuracy.value, found.by_answer) == (1.0, {})


def test_an_answer_in_another_spelling_is_the_same_answer() -> None:
    cases = [
        case.model_copy(
            update={"answer": "Yes." if i % 2 else "yes", "options": (), "answer_type": "closed"}
        )
        for i, case in enumerate(CASES)
    ]
    found = judged(Says(render_answer("YES")), cases)
    assert {answer: (rate.value, rate.n) for answer, rate in found.by_answer.items()} == {
        "yes": (1.0, 24)
    }


def test_the_rubric_of_the_rules_gives_the_mean_reward() -> None:
    found = judged(Says(render_answer("A")))
    assert found.reward == pytest.approx(found.accuracy.value + 0.1)
    assert found.scorers == {"choice": "4"}


def test_the_figures_are_plain_json_and_hold_a_judges_own(tmp_path: Path) -> None:
    found = replace(
        judged(load_policy("majority:3:scripted:prior")),
        metrics={"f1": 0.25, "stayed": Rate.of([True, False])},
    )
    told = json.loads(json.dumps(found.as_dict()))
    assert told["metrics"] == {"f1": 0.25, "stayed": Rate.of([True, False]).as_dict()}
    assert told["accuracy"] == found.accuracy.as_dict()
    assert told["roles"]["vote"]["right"]["n"] == 72
    assert "trajectories" not in told
    assert told.keys() | {"trajectories", "cases", "episodes"} == {
        field.name for field in fields(Judgement)
    }


def test_the_same_seed_judges_the_same_and_another_otherwise() -> None:
    policy = load_policy("scripted:random")
    runs = [
        judge(policy, CASES, RULES, sampling=Sampling(), seed=seed).trajectories
        for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_trajectories_come_in_the_order_of_the_cases_and_progress_counts() -> None:
    seen: list[int] = []
    found = judge(
        load_policy("scripted:prior"), CASES, RULES, sampling=Sampling(), on_progress=seen.append
    )
    assert seen == list(range(1, 25))
    assert [t.case_id for t in found.trajectories] == [case.id for case in CASES]
    assert {t.policy for t in found.trajectories} == {"scripted:prior"}


def test_a_lazy_list_makes_each_case_once() -> None:
    class Lazy(Sequence[Case]):
        made: list[int] = []  # noqa: RUF012

        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: Any) -> Any:
            if index >= len(self):
                raise IndexError
            self.made.append(index)
            return CASES[index]

    judged(load_policy("scripted:prior"), CaseList(Lazy()))
    assert Lazy.made == list(range(6))


def test_it_judges_inside_an_event_loop_too() -> None:
    async def inside() -> Judgement:
        return judged(load_policy("scripted:oracle"))

    assert asyncio.run(inside()).accuracy.value == 1.0


def test_no_case_is_no_judgement() -> None:
    with pytest.raises(UserError, match="no case"):
        judged(load_policy("scripted:prior"), CASES[:0])


def test_trajectories_must_fit_the_cases() -> None:
    played = judged(load_policy("scripted:prior")).trajectories
    with pytest.raises(ValueError, match="zip"):
        judgement("x", CASES, played[:-1])


CONSULTATION = """
[consultation]
specialties = ["radiologist", "ophthalmologist"]
opinions = 2
[roles.triage]
policy = "scripted:oracle"
[roles.specialist]
policy = "scripted:informed,right=0"
[roles.attending]
policy = "scripted:oracle"
tools = ["zoom"]
"""


class Down(Policy):
    """Its machinery fails for good."""

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        raise Failure("policy", "the endpoint is down", final=True)


def test_each_role_of_a_consultation_is_judged_on_what_it_was_asked(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CONSULTATION)
    team: Any = load_policy(f"consultation:{tmp_path / 'c.toml'}")
    cases = open_cases("phantom,look=fundus,question=kind:test[:6]")
    found = judged(team, cases)
    assert list(found.roles) == ["triage", "specialist:ophthalmologist", "attending"]
    triage, doctor, attending = found.roles.values()
    assert (triage.right.value, triage.right.n, triage.turns) == (1.0, 6, 1.0)
    assert (doctor.right.n, doctor.failed, doctor.answered, doctor.calls) == (12, 0, 1.0, 0.0)
    assert doctor.right.value < 1
    assert (attending.right.value, attending.turns, attending.calls) == (1.0, 2.0, 1.0)
    assert (found.turns, found.calls, found.tokens) == (1 + 2 + 2, 1.0, 0.0)
    assert all(role.seconds > 0 for role in found.roles.values())

    team.policies.add("scripted:informed,right=0", Down())
    doctor = judged(team, cases).roles["specialist:ophthalmologist"]
    assert (doctor.failed, doctor.right.n, doctor.answered, doctor.turns) == (12, 0, None, None)


def test_votes_are_one_role_and_a_single_policy_has_none() -> None:
    found = judged(load_policy("majority:3:scripted:prior"))
    assert [(name, role.right.n) for name, role in found.roles.items()] == [("vote", 72)]
    assert judged(load_policy("scripted:prior")).roles == {}


def test_tokens_count_once_however_often_they_are_read(tiny_folder: Path) -> None:
    policy = load_policy(f"hf:{tiny_folder}")
    found = judge(policy, CASES[:3], RULES, sampling=Sampling(max_tokens=5))
    policy.close()
    held = [sum(len(node.token_ids) for node in t.branch()) for t in found.trajectories]
    assert found.tokens == sum(held) / 3 > 0
