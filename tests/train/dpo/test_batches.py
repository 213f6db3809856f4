"""Pairs as batches: exact tokens of both episodes, images where they were, nothing else trained."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image

from medgym.errors import UserError
from medgym.metrics.recorded_tokens import LostImages
from medgym.train.data.preferences.pair import Pair
from medgym.train.dpo.batches import PairBatches, sides_of, usable, weights_of
from medgym.train.dpo.loss import PAIR, Outputs
from medgym.train.models.checkpoint import load_model
from medgym.trajectory import Trajectory


@pytest.fixture(scope="module")
def loaded(tiny_folder: Any) -> Any:
    return load_model(tiny_folder)


def rows(count: int) -> list[dict[str, int]]:
    return [{PAIR: number} for number in range(count)]


def answering(trajectory: Trajectory, text: str, tokenizer: Any) -> Trajectory:
    """A one-turn episode with another answer."""
    first, reply = trajectory.nodes[:2]
    ids = tuple(tokenizer(text + "<|im_end|>", add_special_tokens=False).input_ids)
    mine = replace(reply, text=text, token_ids=ids, loss_mask=(1,) * len(ids))
    return replace(trajectory, nodes=(first, mine))


def test_one_turn_pairs_are_what_trls_own_vision_collator_makes_of_them(
    loaded: Any, given: Any
) -> None:
    from trl.trainer.dpo_trainer import DataCollatorForVisionPreference

    model, processor = loaded
    tokenizer = processor.tokenizer
    texts = ("<answer>ring</answer>", "<answer>a longer one</answer>")
    pairs, examples = [], []
    for pair in given.pairs[:2]:
        chosen, rejected = (answering(pair.rejected, text, tokenizer) for text in texts)
        pairs.append(Pair(chosen, rejected, "test", ""))
        place = tokenizer.decode([chosen.vision_token_ids[0]])
        ids = list(chosen.nodes[0].token_ids)
        once = [
            i
            for i, before in zip(ids, [-1, *ids], strict=False)
            if i != before or i != chosen.vision_token_ids[0]
        ]
        prompt = tokenizer.decode(once)
        assert prompt.count(place) == 1
        images = [given.pictures[use.sha256] for use in chosen.nodes[0].images]
        said = {"chosen": texts[0] + "<|im_end|>", "rejected": texts[1] + "<|im_end|>"}
        examples.append({"prompt": prompt, "images": images, **said})
    ours = PairBatches(model, processor, pairs, given.pictures.__getitem__)(rows(2))
    trls = DataCollatorForVisionPreference(processor=processor, max_length=None)(examples)
    assert ours.keys() - {PAIR} == trls.keys()
    held = trls["attention_mask"].bool()
    assert torch.equal(ours["input_ids"][held], trls["input_ids"][held])
    for name in trls.keys() - {"input_ids"}:  # padding has another id
        assert torch.equal(ours[name], trls[name]), name


def test_a_batch_is_both_episodes_of_each_pair_with_loss_on_the_policys_tokens(
    loaded: Any, given: Any
) -> None:
    made = PairBatches(*loaded, given.pairs, given.pictures.__getitem__)(rows(4))
    tokenizer = loaded[1].tokenizer
    sides = [p.chosen for p in given.pairs] + [p.rejected for p in given.pairs]
    for row, trajectory in enumerate(sides):
        held = made["attention_mask"][row].bool()
        ids = [i for node in trajectory.nodes[: len(trajectory.nodes)] for i in node.token_ids]
        assert made["input_ids"][row][held].tolist() == ids[: int(held.sum())]
        wrote = made["input_ids"][row][made["completion_mask"][row].bool()]
        replies = [n.text + "<|im_end|>" for n in trajectory.nodes if n.role == "assistant"]
        assert tokenizer.decode(wrote) == "".join(replies)


def test_what_both_share_at_the_start_is_not_trained_on(given: Any) -> None:
    whole = sides_of(given.pairs[0]).chosen
    nodes = given.pairs[0].chosen.nodes
    pair = replace(given.pairs[0], shared=2)
    before = sum(len(node.token_ids) for node in nodes[:2])
    chosen = sides_of(pair).chosen
    assert chosen.ids == whole.ids
    assert sum(whole.mask[:before]) == len(nodes[1].token_ids)
    assert chosen.mask == (0,) * before + whole.mask[before:]
    assert sum(chosen.mask) == sum(len(n.token_ids) for n in nodes[2:] if n.role == "assistant")


def test_rows_of_no_one_and_three_images_are_as_the_rows_alone(loaded: Any, given: Any) -> None:
    from trl.trainer.utils import add_fused_lm_head

    model, processor = loaded[0], loaded[1]
    add_fused_lm_head(model, outputs=("log_probs",))
    batches = PairBatches(model, processor, given.pairs, given.pictures.__getitem__)
    full = sides_of(given.pairs[0]).chosen
    twice = replace(
        full,
        ids=full.ids + full.ids[: full.ids.index(full.image_token) + 16],
        mask=full.mask + (0,) * (full.ids.index(full.image_token) + 16),
        pictures=(*full.pictures, full.pictures[0]),
    )
    twice = replace(twice, ids=(*twice.ids, *full.ids[-3:]), mask=(*twice.mask, 1, 1, 1))
    one = sides_of(given.pairs[0]).rejected
    kept = [i for i, token in enumerate(one.ids) if token != one.image_token]
    none = replace(
        one,
        ids=tuple(one.ids[i] for i in kept),
        mask=tuple(one.mask[i] for i in kept),
        pictures=(),
    )
    samples = [twice, none, one, none]
    assert [len(sample.pictures) for sample in samples] == [3, 0, 1, 0]
    batches._sides = [type(batches._sides[0])(twice, one), type(batches._sides[0])(none, none)]

    def logps(numbers: list[int]) -> torch.Tensor:
        with torch.no_grad():
            made = Outputs(model, batches([{PAIR: n} for n in numbers])).logps
        return made.view(2, -1)

    together = logps([0, 1])
    alone = torch.cat([logps([0]), logps([1])], dim=1)
    assert torch.allclose(together, alone, atol=1e-4)
    assert together[0, 0] != together[1, 0]


def test_an_image_of_another_size_is_refused(loaded: Any, given: Any) -> None:
    smaller = {name: image.resize((32, 32)) for name, image in given.pictures.items()}
    batches = PairBatches(*loaded, given.pairs, smaller.__getitem__)
    with pytest.raises(LostImages, match="row 0 has 32 placeholders and 8 features; fix: "):
        batches(rows(1))


def test_third_rows_are_the_chosen_words_with_other_images(loaded: Any, given: Any) -> None:
    grey = Image.new("L", (64, 64), 128)

    def exchange(number: int, pair: Pair) -> Any:
        return {
            pair.chosen.image_hashes[0]: grey.convert(
                given.pictures[pair.chosen.image_hashes[0]].mode
            )
        }

    batches = PairBatches(*loaded, given.pairs, given.pictures.__getitem__, exchange)
    made = batches(rows(2))
    assert len(made["input_ids"]) == 6
    assert torch.equal(made["input_ids"][:2], made["input_ids"][4:])
    assert torch.equal(made["completion_mask"][:2], made["completion_mask"][4:])
    patches = made["image_grid_thw"].prod(-1).tolist()
    images = made["pixel_values"].split(patches)
    shown = [len(p.chosen.image_hashes) for p in given.pairs[:2]]
    assert len(images) == 2 * sum(shown) + sum(
        len(p.rejected.image_hashes) for p in given.pairs[:2]
    )
    first, third = images[0], images[-sum(shown)]
    assert not torch.equal(first, third)
    assert torch.equal(images[1], images[-sum(shown) + 1])
    assert float(third.std()) == 0.0


def test_pairs_that_cannot_be_learned_from_are_left_out_and_counted(
    given: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    good = given.pairs[0]
    vision = good.chosen.vision_token_ids
    text = replace(good.rejected, kind="text")
    strange = replace(good.rejected, vision_token_ids=(1, 2))
    both = [replace(each, vision_token_ids=(1, 2)) for each in (good.chosen, good.rejected)]
    other = replace(given.pairs[1], shared=1)
    bad = [
        replace(good, rejected=good.chosen),
        replace(good, rejected=text),
        replace(good, rejected=strange),
        replace(good, chosen=both[0], rejected=both[1]),
        replace(
            other,
            rejected=replace(
                good.rejected, case_id=other.case_id, case_hash=other.chosen.case_hash
            ),
        ),
        replace(good, rejected=given.pairs[1].rejected),
    ]
    assert usable([good, *bad], vision) == [good]
    assert capsys.readouterr().err == (
        "DPO: 6 of 7 pairs left out: 1 different before they branch, 1 identical branches, 1 of "
        "another model's tokenizer, 1 of two cases, 1 of two tokenizers, 1 without tokens\n"
    )
    with pytest.raises(UserError, match=r"no pairs to learn from \(1 identical branches\); fix: "):
        usable(bad[:1], vision)
    with pytest.raises(UserError, match="no pairs to learn from; fix: "):
        usable([], vision)


def test_weights_are_of_each_pair_around_1(given: Any) -> None:
    weights = weights_of(given.pairs, "score").tolist()  # of the scores 0.25, 0.5, 0.75, and 1
    assert weights == pytest.approx([0.5, 1 - 0.2**0.5, 1 + 0.2**0.5, 1.5])
    assert weights_of(given.pairs, "uniform").tolist() == [1.0] * 4
