"""The audit: rubrics that can be cheated are caught, those that cannot pass."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import typer
from PIL import Image

from medgym.cases import Case, open_cases
from medgym.episode import Episode, Rules
from medgym.errors import RunError, UserError
from medgym.imaging.study import ImageRef
from medgym.registry import names
from medgym.rubric import Rubric, Term, load_rubric, outcome
from medgym.tool import load_tools
from medgym.train.commands.audit import MOST, _asked, audit
from medgym.train.rubric_audit.audit import FLOOR, Earning, audited, verdict

CASES = list(open_cases("phantom,look=radiograph,question=kind:test[:8]"))
"""Their images are exchanged for one that is quickly opened."""


@pytest.fixture(scope="module", autouse=True)
def quick_images(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("images") / "grey.png"
    Image.new("L", (512, 512), 90).save(path)
    ref = ImageRef(uri=path.as_uri())
    CASES[:] = [case.model_copy(update={"images": (ref,)}) for case in CASES]


def earned(rubric: Rubric, floor: float = FLOOR) -> list[Earning]:
    return audited(CASES, Rules(tools=load_tools(["zoom"]), rubric=rubric, view_size=64), floor)


def caught(rubric: Rubric, floor: float = FLOOR) -> set[str]:
    earnings = earned(rubric, floor)
    found = {earning.policy for earning in earnings if earning.caught}
    assert bool(found) == (verdict(rubric, earnings, floor) is not None)
    return found


def with_term(weight: float, judge: Callable[[Case, Episode], float]) -> Rubric:
    return Rubric("mine", (*outcome().terms, Term("extra", weight, judge)))


def calls(case: Case, episode: Episode) -> float:
    return sum(len(turn.outcomes) for turn in episode.turns)


CALLERS = {"form-only", "repeated-calls", "look-everywhere"}


@pytest.mark.parametrize(
    ("weight", "judge", "cheats"),
    [
        # A reward for each call: the process reward that gets hacked.
        (0.2, calls, CALLERS - {"form-only"}),
        # A bonus for a call, whether right or not.
        (0.5, lambda c, e: min(1.0, calls(c, e)), CALLERS),
        # A loose reading of the answer.
        (1.0, lambda c, e: float(c.answer in (e.answer or "")), {"stuffed-answer"}),
        # A reward for a thought with nothing in it.
        (1.0, lambda c, e: float("<think></think>" in e.turns[0].reply), {"empty-think"}),
    ],
)  # fmt: skip
def test_a_bad_rubric_is_caught_with_the_cheat_that_it_pays(
    weight: float, judge: Any, cheats: set[str]
) -> None:
    assert caught(with_term(weight, judge)) == cheats


@pytest.mark.parametrize("name", names("rubrics"))
def test_the_presets_pass(name: str) -> None:
    assert caught(load_rubric(name)) == set()


def test_the_commonest_answer_is_caught_where_one_is_too_common() -> None:
    answer = CASES[0].answer
    common = [case for case in CASES if case.answer == answer] * 4
    skewed = [c.model_copy(update={"id": f"{c.id}-{i}"}) for i, c in enumerate(common)] + CASES[:8]
    rules = Rules(tools=load_tools(["zoom"]), view_size=64)
    found = {each.policy for each in audited(skewed, rules) if each.caught}
    assert found == {"commonest"}


def test_a_rubric_that_pays_no_more_for_honest_play_is_caught() -> None:
    costly = Rubric("costly", (*outcome().terms, Term("turns", -3.0, lambda c, e: len(e.turns))))
    earnings = earned(costly)
    assert {earning.share for earning in earnings} == {None}
    assert "no more than a guess" in str(verdict(costly, earnings, FLOOR))


def test_offsets_and_units_do_not_count() -> None:
    bonus = with_term(0.5, lambda c, e: min(1.0, calls(c, e)))
    scaled = Rubric("scaled", tuple(term.weighted(7 * term.weight) for term in bonus.terms))
    moved = Rubric("moved", (*bonus.terms, Term("gift", -9.0, lambda c, e: 1.0)))
    shares = [[each.share for each in earned(rubric)] for rubric in (bonus, scaled, moved)]
    assert shares[0] == pytest.approx(shares[1])
    assert shares[0] == pytest.approx(shares[2])


def test_the_figures_are_those_of_the_terms() -> None:
    by_name = {earning.policy: earning for earning in earned(outcome())}
    oracle, guess = by_name["oracle"], by_name["guess"]
    assert (oracle.reward, oracle.share, oracle.right) == (pytest.approx(1.1), 1.0, 1.0)
    assert oracle.terms == {"answer": 1.0, "format": 1.0}
    assert guess.share == 0.0
    assert guess.right == 0.25, "over all draws, chance among four options"
    assert guess.reward == pytest.approx(0.35)
    assert by_name["stuffed-answer"].reward == 0.0


def test_a_schedule_is_weighed_at_all_its_points() -> None:
    extra = Term("extra", 1.0, lambda c, e: min(1.0, calls(c, e)))
    fading = Rubric("fading", (*outcome().terms, extra.scheduled((0.0, 1.0), (0.5, 0.0))))
    earnings = earned(fading)
    assert sorted({earning.progress for earning in earnings}) == [0.0, 0.5]
    assert {earning.progress for earning in earnings if earning.caught} == {0.0}
    rising = Rubric("rising", (*outcome().terms, extra.scheduled((0.5, 0.0), (1.0, 1.0))))
    said = verdict(rising, earned(rising), FLOOR)
    assert said is not None
    assert "at 100.0 % of training" in said


def test_the_floor_is_the_users() -> None:
    bonus = with_term(0.5, lambda c, e: min(1.0, calls(c, e)))
    assert caught(bonus, floor=0.9) == set()
    assert "form-only" in caught(load_rubric("ophiuchus"), floor=0.05)


def test_a_term_that_raises_is_named() -> None:
    with pytest.raises(RunError, match=r"term 'extra'.*ZeroDivisionError"):
        earned(with_term(1.0, lambda c, e: 1 / 0))


def run(*words: str) -> None:
    app = typer.Typer()
    app.command()(audit)
    app(list(words), standalone_mode=False)


SMALL = ("--cases", "phantom,look=radiograph,question=kind:test[:8]")


def test_the_command_prints_what_each_would_earn(capsys: pytest.CaptureFixture[str]) -> None:
    run("--rubric", "outcome", *SMALL)
    printed = capsys.readouterr().out
    assert re.search(r"outcome, 8 cases, floor 25\.0 %", printed)
    assert re.search(r"oracle +1\.100 +100\.0 % +100\.0 % +1\.00 +1\.00", printed)
    assert "!" not in printed


def test_the_command_fails_where_a_cheat_beats_the_floor(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(RunError, match=r"'ophiuchus' pays .*form-only.* floor of 1\.0 %; fix"):
        run("--rubric", "ophiuchus", "--floor", "0.01", "--json", *SMALL)
    rows = json.loads(capsys.readouterr().out)
    assert [row["policy"] for row in rows][:2] == ["oracle", "guess"]
    assert {row["policy"] for row in rows if row["caught"]} >= {"form-only", "repeated-calls"}
    assert set(rows[0]) == {
        "policy", "reward", "share", "right", "terms", "caught", "progress",
    }  # fmt: skip


def test_a_recipe_brings_its_rubric_cases_and_turns(capsys: pytest.CaptureFixture[str]) -> None:
    run("tiny", "--json", *SMALL)
    rows = json.loads(capsys.readouterr().out)
    assert set(rows[0]["terms"]) == {"answer", "format"}
    rubric, cases, rules = _asked("tiny", None, None, None, None)
    assert (rubric.name, len(cases), rules.max_turns) == ("outcome", MOST, 2)
    assert [tool.name for tool in rules.tools] == ["zoom"]
    run("tiny", "--rubric", "vitar", "--json", *SMALL)
    assert set(json.loads(capsys.readouterr().out)[0]["terms"]) == {"action", "format", "answer"}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--rubric", "visto"), "did you mean 'vista'"),
        (("tinny",), "did you mean 'tiny'"),
        (("--cases", "phantom:nowhere"), "unknown split"),
    ],
)
def test_what_is_asked_wrongly_is_named(words: tuple[str, ...], error: str) -> None:
    with pytest.raises(UserError, match=error):
        run(*words)
