"""Pivots: one reply at a stored place, held against the call that was made there."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest

from medgym.cases import Case, open_cases
from medgym.cli import main
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.evals.pivot.asking import ask
from medgym.evals.pivot.figures import pivot_figures
from medgym.evals.pivot.origin import digest_of
from medgym.evals.pivot.places import Pivot, Pivots
from medgym.evals.pivot.scoring import PIVOTS, PivotOutcome, outcome_of_pivot
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout import collect
from medgym.storage.results import read_results
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Trajectory

Capture = pytest.CaptureFixture[str]
CASES = "phantom,look=ct-volume,question=kind:test[:3]"
LOOKER = "scripted:demonstrator,good=1.0"
GREEDY = Sampling(temperature=0.0)
Played = list[tuple[Case, Trajectory]]


@pytest.fixture(scope="module")
def rules() -> Rules:
    return Rules.for_cases(CASES, tools=["slice", "zoom"])


@pytest.fixture(scope="module")
def played(rules: Rules) -> Played:
    """Episodes of three replies: slice, zoom, answer."""
    cases = open_cases(CASES)
    return [
        (cases.find(each.case_id), each)
        for each in collect(cases, LOOKER, rules, sampling=GREEDY, ordered=True)
    ]


class Says(Policy):
    """Says the same in any case, and keeps what it was shown."""

    spec = "test:says"

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.shown: list[Sequence[Message]] = []

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        self.shown.append(conversation)
        return Reply(self.text)


def outcome(pivot: Pivot, text: str, rules: Rules) -> PivotOutcome:
    (trajectory,) = ask([pivot], Says(text), rules, sampling=GREEDY)
    return outcome_of_pivot(pivot, trajectory)


def test_which_replies_are_pivots(played: Played) -> None:
    turns = {
        which: [each.turn for each in Pivots.of(played, which).pivots]
        for which in ("first", "hit", "all")
    }
    assert turns == {"first": [1] * 3, "hit": [2] * 3, "all": [1, 2] * 3}
    found = Pivots.of(played, "hit")
    assert (found.replies, found.none, found.left_out) == (9, 0, 0)
    assert all(each.looks[0].tool == "zoom" and each.before == 1 for each in found.pivots)
    answers = [(case, replace(t, nodes=t.nodes[:1], looks=())) for case, t in played]
    assert Pivots.of(answers, "all") == Pivots((), 0, 3, 0)
    lost = [(case, replace(t, failure="policy: gone")) for case, t in played]
    late = [(case, replace(t, faults=("late:zoom",))) for case, t in played]
    assert Pivots.of(lost + late, "all").left_out == 6


def test_who_played_is_right_at_its_own_pivots(played: Played, rules: Rules) -> None:
    pivots = Pivots.of(played, "all").pivots
    found = {t.case_id: t for t in ask(pivots, load_policy(LOOKER), rules, sampling=GREEDY)}
    outcomes = [outcome_of_pivot(pivot, found[pivot.asked.id]) for pivot in pivots]
    figures = pivot_figures(outcomes)
    for name in ("well-formed", "call accepted", "place as recorded", "box as recorded"):
        assert figures[name].value == 1, name
        assert figures[name].low > 0
    assert figures["answered instead"].value == 0
    assert figures["shows a gold region"].value == 0.5, "the zooms, not the slices"


def test_what_is_read_is_what_was_stored(played: Played, rules: Rules) -> None:
    policy = Says("nothing")
    (pivot,) = Pivots.of(played[:1], "hit").pivots
    list(ask([pivot], policy, rules, sampling=GREEDY))
    (shown,) = policy.shown
    nodes = played[0][1].nodes[:3]
    assert [m.text for m in shown[2:]] == [node.text for node in nodes[1:]]
    assert "\n\n".join(m.text for m in shown[:2]) == nodes[0].text
    hashes = [use.sha256 for node in nodes for use in node.images]
    assert [part.sha256 for message in shown for part in message.images] == hashes


def test_an_episode_that_cannot_be_replayed_is_refused(played: Played, rules: Rules) -> None:
    case, trajectory = played[0]
    use = replace(trajectory.nodes[2].images[0], sha256="0" * 64)
    nodes = list(trajectory.nodes)
    nodes[2] = replace(nodes[2], images=(use,))
    (pivot,) = Pivots.of([(case, replace(trajectory, nodes=tuple(nodes)))], "hit").pivots
    with pytest.raises(UserError, match="the images in what slice replied to turn 1 differ"):
        list(ask([pivot], Says(), rules, sampling=GREEDY))


def test_no_tool_runs_for_the_reply(
    played: Played, rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pivot,) = Pivots.of(played[:1], "hit").pivots

    def crash(*_: object) -> None:
        raise RuntimeError("a tool was run")

    monkeypatch.setattr("medgym.tools.zoom.Zoom.__call__", crash)
    assert outcome(pivot, played[0][1].nodes[3].text, rules).iou == 1


def call(view: int, box: Sequence[float]) -> str:
    return render_call("zoom", {"view": view, "box": list(box)})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I would zoom.", {"well_formed": False, "called": False, "iou": 0.0, "faults": "form"}),
        (render_answer("A"), {"answered": True, "accepted": False, "tool_right": False}),
        (render_call("peek", {}), {"called": True, "accepted": False, "faults": "name"}),
        (call(9, [0, 0, 9, 9]), {"tool_right": True, "accepted": False, "faults": "value"}),
        (call(0, [0, 0, 500, 500]), {"accepted": True, "place_right": False, "iou": 0.0}),
        (call(1, [0, 0, 1000, 1000]), {"place_right": True, "gold_shown": False}),
        (
            render_call("slice", {"view": 1, "index": 0}),
            {"accepted": True, "tool_right": False, "gold_iou": 0.0},
        ),
    ],
)
def test_what_a_reply_is_worth(
    text: str, expected: dict[str, object], played: Played, rules: Rules
) -> None:
    (pivot,) = Pivots.of(played[:1], "hit").pivots
    found = outcome(pivot, text, rules)
    assert {name: getattr(found, name) for name in expected} == expected
    assert (found.turn, found.recorded, found.failure) == (2, "zoom", None)


def test_the_overlap_is_measured_and_more_calls_do_not_help(played: Played, rules: Rules) -> None:
    (pivot,) = Pivots.of(played[:1], "hit").pivots
    right = played[0][1].nodes[3].text
    there = json.loads(right.partition("<tool_call>")[2].partition("</tool_call>")[0])
    x0, y0, x1, y1 = there["arguments"]["box"]
    half = call(1, [x0, y0, (x0 + x1) / 2, y1])
    assert outcome(pivot, half, rules).iou == pytest.approx(0.5, abs=0.03)
    assert outcome(pivot, half + right, rules).iou == pytest.approx(0.5, abs=0.03)
    assert outcome(pivot, right + half, rules).iou == 1


def test_other_recorded_calls_are_other_pivots(played: Played) -> None:
    pivots = Pivots.of(played, "first").pivots
    moved = replace(pivots[0], looks=tuple(replace(e, index=e.index + 1) for e in pivots[0].looks))
    assert pivots[0].looks
    assert digest_of({"": pivots}) == digest_of({"": pivots[::-1]})
    assert digest_of({"": (moved, *pivots[1:])}) != digest_of({"": pivots})


def test_what_was_asked_once_is_not_asked_again(
    played: Played, rules: Rules, tmp_path: Path
) -> None:
    pivots = Pivots.of(played, "first").pivots
    folder = RunFolder.create(tmp_path / "run", "x = 1")
    policy = Says(render_answer("A"))
    assert len(list(ask(pivots[:2], policy, rules, sampling=GREEDY, out=folder))) == 2
    assert len(list(ask(pivots, policy, rules, sampling=GREEDY, out=folder))) == 1
    assert len(policy.shown) == 3
    assert len(folder.trajectories) == 3


@pytest.mark.usefixtures("no_progress")
def test_the_command(tmp_path: Path, capsys: Capture) -> None:
    run, out = str(tmp_path / "run"), tmp_path / "pivot"
    cases = "phantom,question=kind:test[:4]"
    assert main(["eval", cases, "--policy", LOOKER, "--tools", "on,off", "--out", run]) == 0
    capsys.readouterr()
    words = ["pivot", run, "--policy", "scripted:prior", "--out", str(out)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "replies asked for          4" in printed
    assert "replies of the episodes    8" in printed
    (row,) = read_results(out)["pivot"]
    assert row["benchmark"] == "on"
    assert row["answered instead"]["value"] == 1
    columns = pyarrow.parquet.read_schema(out / PIVOTS)
    assert not [field.name for field in columns if field.type == pyarrow.null()]
    first = (out / "results.json").read_text("utf-8").partition('"seconds"')[0]
    (out / "results.json").unlink()
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    (out / "manifest.json").write_text(json.dumps(manifest | {"status": "running"}))
    assert main(words) == 0
    assert (out / "results.json").read_text("utf-8").partition('"seconds"')[0] == first
    assert main([*words[:3], "scripted:random", *words[4:]]) == 2
    assert "another recipe" in capsys.readouterr().err


def test_what_has_no_pivots_or_several_roles_is_refused(tmp_path: Path, capsys: Capture) -> None:
    cases = ["eval", "phantom,question=kind:test[:2]", "--policy"]
    assert main([*cases, "scripted:prior", "--out", str(tmp_path / "blind")]) == 0
    assert main([*cases, "majority:2:scripted:prior", "--out", str(tmp_path / "votes")]) == 0
    capsys.readouterr()
    words = ["--policy", "scripted:prior"]
    assert main(["pivot", str(tmp_path / "blind"), *words]) == 2
    assert "no reply whose looks showed a gold region" in capsys.readouterr().err
    assert main(["pivot", str(tmp_path / "votes"), *words]) == 2
    assert "is a consultation" in capsys.readouterr().err
    assert main([*cases, LOOKER, "--out", str(tmp_path / "looks")]) == 0
    capsys.readouterr()
    assert main(["pivot", str(tmp_path / "looks"), "--policy", "majority:2:scripted:prior"]) == 2
    assert "fix: ask a policy of one role" in capsys.readouterr().err
