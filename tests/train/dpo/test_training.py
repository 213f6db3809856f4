"""A whole training on pairs: its reference, resuming, what it watches, and how it ends."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import RunError, UserError
from medgym.local_model import local_model
from medgym.policy import Sampling, load_policy
from medgym.rollout import collect
from medgym.storage.adapters import WEIGHTS, final, published
from medgym.storage.layout import Place
from medgym.tool import load_tools
from medgym.train.data.preferences.pair import Pair
from medgym.train.dpo.curves import panels
from medgym.train.dpo.loss import PAIR
from medgym.train.dpo.training import train_dpo
from medgym.train.dpo.watch import ANSWERED, AT_START, CollapseCheck, Collapsed
from medgym.train.grpo.blindness import Blind
from medgym.train.grpo.evaluation import HeldOut
from medgym.train.models.checkpoint import load_model
from medgym.train.models.lora import parameters_of
from medgym.train.recipe.schema import Recipe, parse_recipe
from tests.train.dpo.conftest import LORA

pytestmark = pytest.mark.slow

RULES = Rules(tools=load_tools(["zoom"]), max_turns=2, view_size=64)
SAMPLING = Sampling(max_tokens=6)


def recipe(dpo: dict[str, Any], **tables: Any) -> Recipe:
    cases = {"train": "phantom:train[:4]", "test": "phantom:test[:4]"}
    keys = {"learning_rate": 1e-2, "per_device_train_batch_size": 2, "report_to": ["none"]} | dpo
    data = {"name": "small", "model": {"path": "base"}, "cases": cases, "dpo": keys}
    data |= {"rollout": {"max_turns": 2, "max_tokens": 6}, "lora": LORA}
    return parse_recipe(data | tables, "my.toml")


def rows(place: Place) -> list[dict[str, float]]:
    return [json.loads(line) for line in place.metrics.read_text().splitlines()]


def losses(trainer: Any) -> list[float]:
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def test_a_resumed_run_is_one_that_was_not_interrupted(
    tiny_folder: Path, tmp_path: Path, given: Any
) -> None:
    """Though it looks at its policy, and judges it, on the way."""
    judge = {"every": 2, "cases": "phantom:validation[:2]", "best": True}
    asked = recipe(
        {"max_steps": 4, "save_steps": 2, "precompute_ref_log_probs": True},
        judge=judge,
        sight={"every": 1, "floor": 0.0},
    )
    judged = open_cases("phantom,look=radiograph,question=kind:validation[:2]")

    def train(folder: Path, until: int | None = None) -> Place:
        model, processor = load_model(tiny_folder)
        place = Place(folder, "dpo")
        step = train_dpo(
            asked,
            model,
            processor,
            given.pairs,
            given.pictures.__getitem__,
            place,
            cases=list(given.cases.values())[:1],
            rules=RULES,
            sampling=SAMPLING,
            held_out=HeldOut(judged, RULES, seed=7),
            until=until,
        )
        assert step == 2  # nothing is right, before and after
        return place

    whole = train(tmp_path / "whole")
    train(tmp_path / "parts", until=2)
    parts = train(tmp_path / "parts")
    for kept in ("adapters/dpo/2", "checkpoints-dpo/checkpoint-4"):
        first, second = ((place.folder / kept / WEIGHTS).read_bytes() for place in (whole, parts))
        assert first == second
    assert final(whole.folder, "dpo") == published(whole.folder, "dpo")[0]
    timed = {"eval_runtime", "eval_samples_per_second", "eval_steps_per_second"}
    told = [
        [{k: v for k, v in row.items() if k not in timed} for row in rows(place)]
        for place in (whole, parts)
    ]
    assert told[0] == told[1]
    steps = [row for row in told[0] if "loss" in row]
    assert [row["step"] for row in steps] == [1, 2, 3, 4]
    assert steps[0].keys() - steps[1].keys() == {AT_START}
    assert all({ANSWERED, "sight/other"} <= row.keys() for row in steps)
    evaluated = [row for row in told[0] if "eval_accuracy" in row]
    assert [row["step"] for row in evaluated] == [2, 4]
    assert all("eval_episode/malformed" in row for row in evaluated)
    assert not (tmp_path / "whole" / "checkpoints").exists()
    _draw(whole)


def _draw(place: Place) -> None:
    from matplotlib import pyplot

    drawn = panels(place.metrics)
    figure, axes = pyplot.subplots(1, len(drawn))
    for panel, its in zip(drawn, axes, strict=True):
        panel.draw(its)
        assert its.lines
    pyplot.close(figure)


def test_a_reference_that_was_computed_before_is_the_same(build: Any) -> None:
    """Of all three columns, by other batches, while the adapter of the policy moves away."""
    asked = {"terms": {"image": 1.0}, "images": {"how": "other"}}
    now = build(**asked)
    before = build(**asked, precompute_ref_log_probs=True, precompute_ref_batch_size=3)
    assert before._references.shape == (4, 3)
    assert losses(now) == pytest.approx(losses(before), abs=1e-5)
    kept = before._references[:, 0]
    batch = before._batches([{PAIR: n} for n in range(4)])
    assert torch.allclose(now._reference(batch)[:, 0], kept, atol=1e-4)


def test_exchanged_images_move_the_loss(build: Any) -> None:
    trainer = build(terms={"image": 1.0}, images={"how": "blank"})
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            if weight.requires_grad:
                weight += 0.2 * torch.randn(weight.shape, generator=generator)
    trainer.state.global_step = 1
    batch = trainer._batches([{PAIR: n} for n in range(4)])
    loss = trainer._compute_loss(trainer.model, batch, False)
    blind = batch | {"pixel_values": torch.zeros_like(batch["pixel_values"])}
    assert abs((trainer._compute_loss(trainer.model, blind, False) - loss).item()) > 1e-4
    figures = trainer._metrics["train"]["loss/image"]
    assert figures[1] == pytest.approx(0.6931472, abs=1e-6)  # without images all are alike
    assert abs(figures[0] - 0.6931472) > 1e-4


def test_a_training_may_begin_with_an_adapter_which_is_its_reference(
    tiny_folder: Path, tmp_path: Path, given: Any, build: Any
) -> None:
    model, processor = load_model(tiny_folder)
    given_to = (given.pairs, given.pictures.__getitem__, Place(tmp_path, "dpo"))
    train_dpo(recipe({"max_steps": 2, "save_strategy": "no"}), model, processor, *given_to)
    start = tmp_path / "adapters" / "dpo" / "2"
    trainer = build(start=start)
    base = build()
    batch = base._batches([{PAIR: n} for n in range(4)])
    assert not torch.allclose(trainer._references[:, 0], base._reference(batch)[:, 0], atol=1e-2)
    found = losses(trainer)  # the first step holds that the reference is the policy
    assert found[0] == pytest.approx(0.6931472, abs=1e-5)
    assert found[2] < found[0]
    from peft import LoraConfig

    with pytest.raises(UserError, match="is of another shape than"):
        build(start=start, peft_config=LoraConfig(r=4, target_modules=LORA["target_modules"]))


def test_a_reference_that_is_not_the_start_is_refused(tiny_folder: Path, build: Any) -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(**LORA, init_lora_weights="pissa")
    with pytest.raises(RunError, match=r"the reference is not the policy as DPO begins: .*; fix: "):
        build(peft_config=config).train()
    model, processor = load_model(tiny_folder)
    adapted: Any = get_peft_model(model, LoraConfig(**LORA))
    with pytest.raises(UserError, match=r"the reference would be the base below an adapter"):
        build(loaded=(adapted, processor), peft_config=None)


def test_the_whole_model_learns_in_float32_against_a_copy(tiny_folder: Path, build: Any) -> None:
    model, processor = load_model(tiny_folder)
    trainer = build(loaded=(model.bfloat16(), processor), peft_config=None)
    kinds = {w.dtype for m in (trainer.model, trainer.ref_model) for w in m.parameters()}
    assert kinds == {torch.float32}
    start = {name: weight.clone() for name, weight in trainer.ref_model.named_parameters()}
    found = losses(trainer)
    assert found[0] == pytest.approx(0.6931472, abs=1e-6)
    assert found[2] < found[0] - 1e-3
    assert all(torch.equal(w, start[name]) for name, w in trainer.ref_model.named_parameters())


def test_a_policy_that_stops_answering_stops_the_run_by_name(
    tiny_processor: Any, tmp_path: Path
) -> None:
    """Looks against guesses at a high rate and without a term that holds the chosen replies: the
    margin grows while both become unlikely."""
    from medgym.train.sft.trainer import supervised
    from medgym.train.tiny.model import TinyConfig, build_model

    config = TinyConfig(hidden=32, text_layers=2, vision_layers=1, heads=2)
    model = build_model(config, tiny_processor.tokenizer, seed=0)
    cases = list(open_cases("phantom,look=radiograph,question=kind:train[:4]"))
    pictures: dict[str, Any] = {}

    def keep(messages: Any) -> None:
        pictures.update((part.sha256, part.image) for m in messages for part in m.images)

    def play(spec: str) -> Any:
        policy = local_model(model, tiny_processor).imitating(load_policy(spec))
        return list(collect(cases, policy, RULES, seed=1, on_messages=keep, ordered=True))

    guesses = play("scripted:demonstrator,good=0,random=0,steps=7")
    looks = play("scripted:demonstrator,good=1,random=0,steps=7")
    keys = {"max_steps": 30, "per_device_train_batch_size": 4, "learning_rate": 2e-2}
    everything = ("language", "vision", "projector")
    model = supervised(
        model, tiny_processor, guesses, pictures.__getitem__, keys, seed=0, parts=everything
    )
    pairs = [Pair(*both, "looking", "") for both in zip(looks, guesses, strict=True)]
    asked = recipe(
        {"max_steps": 20, "per_device_train_batch_size": 4, "save_strategy": "no"}
        | {"precompute_ref_log_probs": True, "learning_rate": 3e-2},
        lora={"r": 8, "lora_alpha": 16, "target_modules": r".*language_model.*_proj"},
        sight={"every": 0},
    )
    place = Place(tmp_path, "dpo")
    with pytest.raises(
        Collapsed, match=r"stops answering: after step 10 .* lost .*dpo\.terms\.nll"
    ):
        train_dpo(
            asked,
            model,
            tiny_processor,
            pairs,
            pictures.__getitem__,
            place,
            cases=cases,
            rules=RULES,
            sampling=Sampling(max_tokens=24),
        )
    told = rows(place)
    assert told[0][AT_START] >= 0.5
    assert told[-1]["rewards/margins"] > 2 * told[1]["rewards/margins"] > 0
    assert told[-1]["logps/chosen_change"] < 0
    assert (told[-1]["step"], told[-1][ANSWERED]) == (10, 0.0)
    assert not (tmp_path / "adapters").exists()


def test_a_policy_that_does_not_see_stops_the_run_by_name(
    tiny_folder: Path, tmp_path: Path, given: Any
) -> None:
    model, processor = load_model(tiny_folder)
    with torch.no_grad():
        for weight in parameters_of(model, ("vision", "projector")):
            weight.zero_()
    asked = recipe({"max_steps": 2, "save_strategy": "no"})
    with pytest.raises(Blind, match="the model is blind: not one token that it wrote depends"):
        train_dpo(
            asked,
            model,
            processor,
            given.pairs,
            given.pictures.__getitem__,
            Place(tmp_path, "dpo"),
            cases=list(given.cases.values())[:2],
            rules=RULES,
            sampling=SAMPLING,
        )
    assert not (tmp_path / "adapters").exists()


def test_a_collapse_is_no_answer_at_all_or_few_twice_in_a_row() -> None:
    check = CollapseCheck(0.9)
    for answered in (0.9, 0.4, 0.5, 0.3, 0.9):
        check.see(answered, 10)
    with pytest.raises(Collapsed, match=r"after step 20 0% of its episodes .*, 90% did at the st"):
        check.see(0.0, 20)
    with pytest.raises(Collapsed):
        CollapseCheck(0.9, last=0.4).see(0.4, 20)
    CollapseCheck(0.9, last=0.5).see(0.4, 20)
    never = CollapseCheck(0.0)  # what never answered cannot stop
    never.see(0.0, 10)
    never.see(0.0, 20)


def test_noise_needs_regions_and_another_patient_another_one(given: Any, build: Any) -> None:
    cases = {name: case.model_copy(update={"regions": ()}) for name, case in given.cases.items()}
    bare = type(given)(given.pairs, given.pictures, cases)
    from medgym.train.dpo.others import exchange_of
    from medgym.train.dpo.tables import ImagesTable

    get = given.pictures.__getitem__
    with pytest.raises(UserError, match=r'how = "noise" needs gold regions, which .*; fix: '):
        exchange_of(bare.pairs, ImagesTable(how="noise"), get, bare.cases, 0)
    with pytest.raises(UserError, match=r'how = "other" needs pairs of two patients .*; fix: '):
        exchange_of(given.pairs[:1], ImagesTable(how="other"), get, given.cases, 0)
    made = exchange_of(given.pairs, ImagesTable(how="noise"), get, given.cases, 0)
    assert made(0, given.pairs[0]).keys() <= set(given.pairs[0].chosen.image_hashes)
    assert made(0, given.pairs[0])
