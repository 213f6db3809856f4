"""A judge is asked each thing once; what it does not answer is no verdict."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from medgym.errors import RunError, UserError
from medgym.evals.model_judge.asking import ModelJudge, open_judge
from medgym.evals.model_judge.prompt import ANSWER, data_of, judge_prompt
from medgym.evals.model_judge.replies import REPLIES, JudgeReplies, JudgeRequest
from medgym.failures import Failure
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling

DOWN = Failure("policy", "connection refused")


class Saying(Policy):
    """Says of the texts what it was told to say; raises what is an exception."""

    spec = "test:saying"

    def __init__(self, **says: str | Exception) -> None:
        self.says = says
        self.asked: list[str] = []
        self.sampled: list[Sampling] = []

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        found = next(t for t in self.says if f'"answer": "{t}"' in conversation[1].text)
        self.asked.append(found)
        self.sampled.append(sampling)
        said = self.says[found]
        if isinstance(said, Exception):
            raise said
        return Reply(said)


def requests(*texts: str) -> list[JudgeRequest]:
    return [
        JudgeRequest(f"c/{t}", f"h/{t}", t, data_of("Which?", (), ["a"], answer=t)) for t in texts
    ]


def judge(policy: Policy, folder: Path | None) -> ModelJudge:
    return ModelJudge(policy, judge_prompt(ANSWER), JudgeReplies(folder))


def test_each_thing_is_asked_once_greedily_and_never_again(tmp_path: Path) -> None:
    policy = Saying(a="right", b="I say right", c="wrong")
    asked = judge(policy, tmp_path).ask(requests("a", "b", "c", "a"))
    assert sorted(policy.asked) == ["a", "b", "c"]
    assert {each.temperature for each in policy.sampled} == {0}
    assert sorted(asked.labels.values()) == ["right", "wrong"]
    assert (list(asked.missing.values()), asked.calls) == (["unparsed"], 3)
    again = judge(policy, tmp_path).ask(requests("a", "b", "c"))
    assert (len(policy.asked), again.calls) == (3, 0)
    assert (again.labels, again.missing) == (asked.labels, asked.missing)
    # Another judge, another version of it, another case, another answer: each is asked.
    other = Saying(a="wrong")
    other.spec = "test:other"
    assert list(judge(other, tmp_path).ask(requests("a")).labels.values()) == ["wrong"]
    newer = Saying(a="partly")
    newer.version = "2"
    assert list(judge(newer, tmp_path).ask(requests("a")).labels.values()) == ["partly"]
    changed = [JudgeRequest("c/a", "another hash", "a", requests("a")[0].data)]
    assert judge(policy, tmp_path).ask(changed).calls == 1


def test_a_judge_that_is_down_stops_and_loses_nothing(tmp_path: Path) -> None:
    policy = Saying(a="right", b=DOWN, c=DOWN, d=DOWN, e=DOWN)
    with pytest.raises(RunError, match=r"failed .* times \(connection refused.*kept: 1") as up:
        judge(policy, tmp_path).ask(requests("a", "b", "c", "d", "e"))
    assert "\n" not in str(up.value)
    mended = Saying(**dict.fromkeys("abcde", "right"))
    found = judge(mended, tmp_path).ask(requests("a", "b", "c", "d", "e"))
    assert found.calls == 4  # `a` was kept
    assert len(found.labels) == 5


def test_all_failed_is_an_error_also_where_there_are_few() -> None:
    with pytest.raises(RunError, match="failed 1 times"):
        judge(Saying(a=DOWN), None).ask(requests("a"))


def test_a_single_failure_and_a_withheld_reply_are_no_verdict_and_are_asked_again(
    tmp_path: Path,
) -> None:
    refused = Failure("policy", "no", withheld="refused")
    found = judge(Saying(a="right", b=DOWN, c=refused), tmp_path).ask(requests("a", "b", "c"))
    assert sorted(found.missing.values()) == ["failed", "refused"]
    assert list(found.labels.values()) == ["right"]
    assert len(JudgeReplies(tmp_path)) == 1


def test_a_line_that_was_cut_is_asked_again_and_spoils_no_other(tmp_path: Path) -> None:
    judge(Saying(a="right", b="wrong"), tmp_path).ask(requests("a", "b"))
    path = tmp_path / REPLIES
    path.write_bytes(path.read_bytes()[:-9])
    policy = Saying(a="right", b="wrong", c="right")
    assert judge(policy, tmp_path).ask(requests("a", "b")).calls == 1
    assert judge(policy, tmp_path).ask(requests("a", "b", "c")).calls == 1
    assert judge(policy, tmp_path).ask(requests("a", "b", "c")).calls == 0


@pytest.mark.parametrize("spec", ["scripted:oracle", "scripted:nothing"])
def test_what_cannot_judge_is_refused(spec: str) -> None:
    with pytest.raises(UserError), open_judge(spec):
        pass
