"""What the cold start imitates: whoever played, in the student's tokens; the rest is on record."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import RunError, UserError
from medgym.imaging.study import ImageRef
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling, load_policy
from medgym.registry import load
from medgym.rollout import collect
from medgym.storage.run_folder import RunFolder
from medgym.tool import load_tools
from medgym.train.data.demonstrations import Plain, demonstrations
from medgym.train.data.records import Records
from medgym.train.recipe.schema import DemonstrationsTable
from medgym.train.sft.samples import sample_of
from medgym.train.tiny.model import TinyConfig, build_model
from medgym.trajectory import Trajectory, validate
from tests.families import build

SPEC = "phantom,look=radiograph,question=kind:train[:6]"
CASES = open_cases(SPEC)
RULES = Rules(tools=load_tools(["zoom"]), max_turns=2, view_size=64)
SAMPLING = Sampling(max_tokens=4)


@pytest.fixture(scope="module")
def student(tiny_processor: Any) -> Any:
    config = TinyConfig(hidden=32, text_layers=2, vision_layers=1, heads=2)
    return load("policies", "hf")(
        build_model(config, tiny_processor.tokenizer, seed=0), tiny_processor
    )


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", {"name": "test"})


def play(student: Any, folder: RunFolder, /, **table: Any) -> list[Trajectory]:
    return demonstrations(
        DemonstrationsTable(**({"cases": SPEC} | table)),
        CASES,
        student,
        RULES,
        SAMPLING,
        folder,
        Records(folder.path),
        seed=1,
    )


def rows(run: RunFolder) -> list[dict[str, Any]]:
    return Records(run.path).rows()


def test_an_oracle_is_imitated_in_the_students_tokens(student: Any, run: RunFolder) -> None:
    kept = play(student, run, policy="scripted:oracle", samples=2)
    assert [(t.case_id, t.member) for t in kept] == [(c.id, m) for c in CASES for m in range(2)]
    for trajectory in kept:
        assert trajectory.kind == "demonstration"
        validate(trajectory)
        for name in sample_of(trajectory).pictures:
            assert run.images.get(name).size == (64, 64)
    assert rows(run) == []


def test_wrong_ones_are_left_out_and_stay_on_record(student: Any, run: RunFolder) -> None:
    kept = play(student, run, policy="scripted:prior", samples=3)
    assert kept
    assert all(trajectory.correct for trajectory in kept)
    assert len(run.trajectories) == 18
    assert len(kept) + len(rows(run)) == 18
    assert all(row["stage"] == "demonstrations" for row in rows(run))
    assert all(row["why"].startswith("wrong: ") for row in rows(run))


def test_what_is_kept_may_be_asked_for_by_reward(student: Any, run: RunFolder) -> None:
    kept = play(student, run, policy="scripted:random", samples=4, keep=1.05)
    assert all(trajectory.reward == pytest.approx(1.1) for trajectory in kept)
    whys = {row["why"] for row in rows(run)}
    assert "earned 0, less than 1.05" in whys


def test_all_are_kept_where_all_are_asked_for(student: Any, run: RunFolder) -> None:
    assert len(play(student, run, policy="scripted:prior", keep="all")) == 6


def test_the_base_itself_is_a_demonstrator(student: Any, run: RunFolder) -> None:
    kept = play(student, run, policy="self", keep="all")
    assert all(trajectory.kind == "sampled" for trajectory in kept)
    for trajectory in kept:
        sample_of(trajectory)


def test_nothing_to_learn_from_is_an_error_that_says_why(student: Any, run: RunFolder) -> None:
    with pytest.raises(UserError, match=r"none of 6 demonstrations is kept \(wrong: "):
        play(student, run, policy="self")


def test_what_is_stored_is_not_played_again(student: Any, run: RunFolder) -> None:
    first = play(student, run, policy="scripted:demonstrator,good=0.5", samples=2, keep="all")
    before = run.trajectories.parts()
    again = play(student, run, policy="scripted:demonstrator,good=0.5", samples=2, keep="all")
    assert again == first
    assert run.trajectories.parts() == before


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """A stored run of a teacher without tokens."""
    folder = RunFolder.create(tmp_path / "teacher", {"policy": "scripted:demonstrator"})
    told = load_policy("scripted:demonstrator,good=0.6")
    for _ in collect(CASES, told, RULES, group_size=2, seed=3, out=folder):
        pass
    assert {trajectory.kind for trajectory in folder.trajectories} == {"text"}
    return folder.path


def test_a_stored_teacher_is_replayed_in_the_students_tokens(
    student: Any, run: RunFolder, teacher: Path
) -> None:
    kept = play(student, run, run=str(teacher), keep="all")
    told = {(t.case_id, t.member): t for t in RunFolder.open(teacher).trajectories}
    assert len(kept) == len(told) == 12
    for trajectory in kept:
        original = told[trajectory.case_id, trajectory.member]
        assert trajectory.policy == original.policy
        assert trajectory.kind == "demonstration"
        assert [n.text for n in trajectory.nodes] == [n.text for n in original.nodes]
        assert (trajectory.answer, trajectory.reward) == (original.answer, original.reward)
        validate(trajectory)
        assert all(run.images.has(name) for name in sample_of(trajectory).pictures)
    assert play(student, run, run=str(teacher), keep="all") == kept


def test_an_episode_that_goes_on_by_other_rules_is_left_out(
    student: Any, run: RunFolder, tmp_path: Path
) -> None:
    short = RunFolder.create(tmp_path / "short", {"policy": "scripted:oracle"})
    looks = Rules(tools=load_tools(["zoom"]), max_turns=1, view_size=64)
    for _ in collect(CASES, load_policy("scripted:demonstrator,good=0.5"), looks, out=short):
        pass
    kept = play(student, run, run=str(short.path), keep="all")
    left_out = rows(run)
    assert len(kept) + len(left_out) == 6
    assert left_out
    assert all("ends after 1 replies" in row["why"] for row in left_out)


def test_a_teacher_with_tokens_of_its_own_sees_words_and_images_alone(
    student: Any, run: RunFolder
) -> None:
    seen: list[Sequence[Message]] = []

    class Watched(Plain):
        async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
            seen.append(conversation)
            return await super().act(conversation, sampling)

    class Listening(Policy):
        spec = "listening"

        async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
            assert all(message.reply is None for message in conversation)
            call = '{"name": "zoom", "arguments": {"view": 0, "box": [0, 0, 500, 500]}}'
            if not any(message.role == "assistant" for message in conversation):
                return Reply(f"<tool_call>{call}</tool_call>", prompt_ids=(1,), token_ids=(2,))
            return Reply("<answer>A</answer>", prompt_ids=(1, 2), token_ids=(3,))

    policy = student.imitating(Watched(Listening()))
    (played,) = collect(CASES[:1], policy, RULES)
    assert played.turns == 2
    assert seen[1][2].reply is not None  # the student's, which the teacher is not shown
    validate(played)


def test_a_teacher_of_another_family_can_be_imitated(student: Any) -> None:
    model, processor = build("gemma3")
    teacher = load("policies", "hf")(model, processor)
    policy = student.imitating(Plain(teacher))
    for trajectory in collect(CASES[:2], policy, RULES, sampling=SAMPLING):
        assert trajectory.failure is None
        assert trajectory.vision_token_ids == student.vision_token_ids
        validate(trajectory)


class Refusing(Policy):
    """A policy that is not ready, and notes that it is closed."""

    spec, version, closed = "refusing", "doctor-3", False

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        return Reply("")

    async def check(self) -> None:
        raise UserError("it is not ready; fix: none")

    def close(self) -> None:
        self.closed = True


def test_a_teacher_that_is_not_ready_is_closed(
    student: Any, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = Refusing()
    monkeypatch.setattr("medgym.train.data.demonstrations.load_policy", lambda _, **__: teacher)
    with pytest.raises(UserError, match="not ready"):
        play(student, run, policy="scripted:oracle")
    assert teacher.closed


def test_the_students_words_are_of_no_adapter(student: Any) -> None:
    assert student.imitating(Refusing()).version == ""


def test_an_unreadable_case_is_not_imitated_and_stays_on_record(
    student: Any, run: RunFolder
) -> None:
    lost = CASES[5].model_copy(update={"images": (ImageRef(uri="file:/nowhere.png"),)})
    table = DemonstrationsTable(cases=SPEC, policy="scripted:oracle", samples=2)
    cases = [*CASES[:2], lost]
    kept = demonstrations(table, cases, student, RULES, SAMPLING, run, Records(run.path), seed=1)
    assert {each.case_id for each in kept} == {case.id for case in cases[:2]}
    assert [(row["case"], row["why"].partition(" image: ")[0]) for row in rows(run)] == [
        (lost.id, "unreadable: no such")
    ] * 2
    assert run.manifest["unreadable"]["count"] == 1
    with pytest.raises(RunError, match="the images of 1 of 1 cases cannot be read"):
        demonstrations(table, [lost], student, RULES, SAMPLING, run, Records(run.path), seed=1)
