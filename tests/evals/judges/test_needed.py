"""Of cases that need different tools: whether each was used where it is needed."""

import medgym
from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.judge import Judgement, load_judge
from medgym.policy import Sampling, load_policy
from medgym.tool import load_tools


def judged(policy: str, question: str) -> Judgement:
    rules = Rules(tools=load_tools(["zoom", "retrieve?passages=phantom-rules"]), view_size=64)
    cases = open_cases(f"phantom,look=radiograph,size=256,question={question}:test[:12]")
    return load_judge()(load_policy(policy), cases, rules, sampling=Sampling())


def test_the_needed_tool_is_counted_by_tool() -> None:
    chosen = judged("scripted:chooser", "kind+stage").metrics
    assert list(chosen) == [
        "used, where needed: retrieve",
        "right, where needed: retrieve",
        "used, where needed: zoom",
        "right, where needed: zoom",
    ]
    rates = [rate for rate in chosen.values() if isinstance(rate, medgym.Rate)]
    assert [(rate.value, rate.n) for rate in rates] == [(1.0, 6)] * 4
    anything = judged("scripted:chooser,good=0,random=1", "kind+stage").metrics
    assert anything["used, where needed: zoom"].value < 1  # type: ignore[union-attr]
    guessed = judged("scripted:prior", "kind+stage").metrics
    assert guessed["used, where needed: retrieve"].value == 0  # type: ignore[union-attr]


def test_cases_that_need_the_same_tool_or_none_have_no_such_figures() -> None:
    for question in ("kind", "stage", "kind+side"):
        assert judged("scripted:prior", question).metrics == {}
