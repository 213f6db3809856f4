"""What the machinery fails at, and what runs out of its budget: left out, never punished."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medgym import RunError, Sampling, Term, UserError, open_cases
from medgym.episode import Rules
from medgym.imaging.study import ImageRef
from medgym.messages import Message, Reply, render_answer
from medgym.policy import Policy
from medgym.registry import load
from medgym.rollout import collection
from medgym.rubric import Rubric, outcome
from medgym.tool import load_tools
from medgym.train.data.records import Records
from medgym.train.grpo.batch import LostImages, check_images
from medgym.train.models.checkpoint import load_model
from tests.train.grpo.test_trainer import Probe

CASES = "phantom,look=radiograph,question=kind:train[:4]"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "BACK_OFF", 0.01)


class Answering(Policy):
    """Writes answers in a model's tokens; fails at some cases, some times."""

    kind = "sampled"
    spec = "answering"

    def __init__(self, renderer: Any, fails: Callable[[str, int, int], bool]) -> None:
        self.renderer = renderer
        self.vision_token_ids = renderer.vision_token_ids
        self.fails = fails
        self.asked: Counter[str] = Counter()

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        sha256 = conversation[1].images[0].sha256
        self.asked[sha256] += 1
        if self.fails(sha256, self.asked[sha256], sampling.seed):
            raise ConnectionError("the line is dead")
        prompt = self.renderer.prompt(conversation)
        text = render_answer("ABC"[sampling.seed % 3])
        ids = self.renderer.encode_reply(text)
        return Reply(
            text,
            prompt_ids=prompt.ids,
            token_ids=ids,
            logprobs=(-1.0,) * len(ids),
            image_tokens=prompt.image_tokens,
        )


@pytest.fixture
def answering(tiny_processor: Any, tiny_folder: Any) -> Callable[..., Answering]:
    renderer = load("policies", "hf")(*load_model(tiny_folder)).renderer
    return lambda fails: Answering(renderer, fails)


def shown(case: Any) -> str:
    """The hash of the image that an episode of a case starts with."""
    return Rules(view_size=64).begin(case).messages[1].images[0].sha256


def test_a_member_that_fails_is_tried_again(
    make_trainer: Any, answering: Callable[..., Answering]
) -> None:
    policy = answering(lambda _, count, __: count == 1)  # the first time, each case
    trainer = make_trainer(policy=policy)
    trainer.train()
    first = trainer.state.log_history[0]
    assert first["failures/policy"] == 2
    assert first["failures/left_out"] == 0


def test_a_group_that_lost_a_member_trains_nobody(
    make_trainer: Any, answering: Callable[..., Answering]
) -> None:
    cases = open_cases(CASES)
    bad = shown(cases[0])
    played: list[Any] = []
    seeds: list[int] = []

    def fails(sha256: str, count: int, seed: int) -> bool:
        if sha256 == bad:
            seeds.append(seed)
        return seeds[:1] == [seed]  # one member's first turn, however often it is tried

    policy = answering(fails)
    trainer = make_trainer(
        Probe, policy=policy, max_steps=1, on_step=lambda _, pairs: played.extend(pairs)
    )
    trainer.train()
    failed = [trajectory.failure is not None for _, trajectory in played]
    assert failed in ([False, True, False, False], [True, False, False, False])
    made, logged = trainer.made, trainer.state.log_history[0]
    mask = made["completion_mask"] * made["tool_mask"]
    assert mask[:2].sum() == 0
    assert (mask[2:].sum(dim=1) > 0).all()
    assert made["advantages"][:2].tolist() == [0.0, 0.0]
    assert made["num_items_in_batch"] == mask.sum()
    assert logged["failures/left_out"] == 0.5
    assert logged["failures/policy"] >= collection.RETRIES
    whole = [trajectory.reward for _, trajectory in played[2:]]
    assert logged["reward"] == pytest.approx(sum(whole) / 2)


def test_a_step_of_which_every_group_failed_stops_the_run(
    make_trainer: Any, answering: Callable[..., Answering]
) -> None:
    trainer = make_trainer(policy=answering(lambda *_: True))
    with pytest.raises(
        RunError,
        match=r"every group of step 1 failed \(policy: .* raised ConnectionError at ",
    ):
        trainer.train()


def test_what_ran_out_of_turns_is_masked_on_request(make_trainer: Any) -> None:
    played: list[Any] = []
    trainer = make_trainer(
        Probe, overlong="mask", max_steps=1, on_step=lambda _, pairs: played.extend(pairs)
    )
    trainer.train()  # a random model answers nothing within its turns
    assert all(trajectory.truncated for _, trajectory in played)
    mask = trainer.made["completion_mask"] * trainer.made["tool_mask"]
    assert mask.sum() == 0
    assert trainer.state.log_history[0]["reward"] is None
    assert trainer.state.log_history[0]["grad_norm"] == 0


def test_tokens_are_spent_in_whole_turns(make_trainer: Any) -> None:
    rules = Rules(tools=load_tools(["zoom"]), view_size=64, max_turns=50)
    played: list[Any] = []

    def keep(_: int, pairs: Any) -> None:
        played.extend(trajectory for _, trajectory in pairs)

    make_trainer(rules=replace(rules, max_turns=1), max_steps=1, on_step=keep).train()
    lengths = [sum(len(node.token_ids) for node in each.nodes) for each in played]
    budget = max(lengths) + 400
    played.clear()
    make_trainer(rules=replace(rules, max_tokens=budget), max_steps=1, on_step=keep).train()
    for trajectory in played:
        assert 1 < trajectory.turns < 50
        assert trajectory.truncated
        assert sum(len(node.token_ids) for node in trajectory.nodes) <= budget


def test_a_question_that_exceeds_the_budget_cannot_be_played(make_trainer: Any) -> None:
    rules = Rules(tools=load_tools(["zoom"]), view_size=64, max_turns=2, max_tokens=50)
    with pytest.raises(RunError, match="the question exceeds the token budget; fix"):
        make_trainer(rules=rules).train()


def test_weights_follow_the_rubrics_schedule(make_trainer: Any) -> None:
    terms = outcome().terms
    form = next(term for term in terms if term.name == "format")
    fading: Term = form.weighted(1.0).scheduled((0.0, 1.0), (0.5, 0.0))
    rubric = Rubric("fading", (*(t for t in terms if t is not form), fading))
    weights: list[list[float]] = []
    trainer = make_trainer(
        rules=Rules(tools=load_tools(["zoom"]), view_size=64, max_turns=2, rubric=rubric),
        on_step=lambda *_: weights.append([round(w, 6) for w in trainer.reward_weights.tolist()]),
        max_steps=4,
    )
    trainer.train()
    assert weights == [[1.0, 1.0], [1.0, 0.5], [1.0, 0.0], [1.0, 0.0]]


def test_groups_are_exchanged_by_who_selects(make_trainer: Any) -> None:
    cases = open_cases(CASES)
    asked: list[Any] = []
    played: list[Any] = []

    def select(step: int, groups: list[Any], play: Callable[..., list[Any]]) -> list[Any]:
        asked.append((step, [[(c.id, t.member) for c, t in group] for group in groups]))
        return [play([cases[3]])[0], groups[0]]

    trainer = make_trainer(
        select=select, max_steps=1, on_step=lambda _, pairs: played.extend(pairs)
    )
    trainer.train()
    first, second, third = (cases[i].id for i in (0, 1, 3))
    assert asked == [(0, [[(first, 0), (first, 1)], [(second, 0), (second, 1)]])]
    assert [c.id for c, _ in played] == [third, third, first, first]


def test_images_that_trl_dropped_are_missed(make_trainer: Any) -> None:
    trainer = make_trainer(Probe, max_steps=1)
    trainer.train()
    made, rows = trainer.made, trainer._rows
    token = trainer._image_pad_token_id
    check_images(made, rows, token, 4)
    dropped = {**made, "pixel_values": None, "image_grid_thw": None, "num_images": None}
    with pytest.raises(LostImages, match=r"images were lost .* shown and 0 reach"):
        check_images(dropped, rows, token, 4)
    fewer = {**made, "image_grid_thw": made["image_grid_thw"][:-1]}
    with pytest.raises(LostImages, match=r"images were lost .* features"):
        check_images(fewer, rows, token, 4)


def test_another_engine_needs_whole_groups_to_select(make_trainer: Any) -> None:
    trainer = make_trainer(
        select=lambda _, groups, __: groups,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=4,
        steps_per_generation=4,
        max_steps=1,
    )
    trainer.train()  # four rows are generated at once: two whole groups
    with pytest.raises(UserError, match="make per_device_train_batch_size a multiple"):
        trainer._selected([(None, None)], [False], trainer.rules_now())


def test_another_case_is_trained_on_in_the_place_of_an_unreadable_one(
    make_trainer: Any, tmp_path: Path
) -> None:
    whole = list(open_cases(CASES))
    gone = (ImageRef(uri="file:/nowhere.png"),)
    lost = whole[0].model_copy(update={"id": "lost", "images": gone})
    played: list[Any] = []
    trainer = make_trainer(
        cases=[lost, *whole], max_steps=1, on_step=lambda _, pairs: played.extend(pairs)
    )
    trainer.left_out = Records(tmp_path)
    trainer.train()
    assert len({case.id for case, _ in played}) == 2
    assert [case.id for case, _ in played[2:]] == [whole[0].id] * 2, "the other group stays"
    assert {trajectory.failure for _, trajectory in played} == {None}
    (row,) = Records(tmp_path).rows()
    assert (row["stage"], row["step"], row["case"]) == ("grpo", 0, "lost")
    assert str(row["why"]).startswith("unreadable: no such image: image 0")
    first = trainer.state.log_history[0]
    assert (first["failures/image"], first["failures/left_out"]) == (2, 0)
    every = [lost.model_copy(update={"id": f"lost {n}"}) for n in range(4)]
    with pytest.raises(RunError, match=r"every group of step 1 failed \(image: no such image"):
        make_trainer(cases=every, max_steps=1).train()
