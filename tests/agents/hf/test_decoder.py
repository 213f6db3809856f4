"""Turn by turn from what is held says the same as everything anew, and no token is read twice."""

import asyncio
import copy
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl")

import torch
from peft import LoraConfig, get_peft_model
from PIL import Image

from medgym.agents.hf import inputs as inputs_module
from medgym.agents.hf import prefill
from medgym.agents.hf.adapters import playing_by
from medgym.agents.hf.inputs import model_inputs
from medgym.agents.hf.policy import HFPolicy
from medgym.agents.hf.prefill import Prefill
from medgym.agents.rendering import Prompt
from medgym.messages import ImagePart, Message, Reply, TextPart, message
from medgym.policy import Sampling
from tests.families import CACHED, build

Said = Sequence[Message]
Script = Sequence[Sequence[ImagePart]]
"""The images of the question and of each tool's message."""


@cache
def policy_of(family: str) -> HFPolicy:
    return HFPolicy(*build(family))


@pytest.fixture(params=CACHED)
def policy(request: pytest.FixtureRequest) -> HFPolicy:
    return policy_of(request.param)


def picture(seed: int, width: int, height: int) -> ImagePart:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return ImagePart(seed, Image.fromarray(pixels))


def scripts() -> list[Script]:
    """Three episodes of three turns, with images of many sizes in questions and tools' messages."""
    return [
        [[picture(0, 64, 48)], [picture(1, 32, 64)], [picture(2, 96, 96), picture(3, 40, 40)]],
        [[picture(4, 96, 32), picture(5, 64, 64)], [], [picture(6, 56, 56)]],
        [[], [picture(7, 64, 64)], [picture(8, 33, 97)]],
    ]


async def play(
    policy: Any, script: Script, number: int = 0, size: int = 9, pause: float = 0.0
) -> tuple[list[Message], list[Reply]]:
    """One episode: a question, and after each reply but the last a tool's message."""
    policy.enter()
    try:
        text = "Which is it?" + " Tell me." * number
        said, replies = [message("user", text, script[0])], []
        for turn in range(len(script)):
            seed = 100 * number + turn
            reply = await policy.act(tuple(said), Sampling(1.0, 1.0, size + 3 * number, seed))
            replies.append(reply)
            said.append(Message("assistant", (TextPart(reply.text),), reply))
            if turn + 1 < len(script):
                await asyncio.sleep(pause * number)
                views = script[turn + 1]
                said.append(message("tool", f"{len(views)} views." + " So." * number, views))
        return said, replies
    finally:
        policy.leave()


def play_all(policy: Any, episodes: Sequence[Script], **options: Any) -> list[Any]:
    async def together() -> list[Any]:
        numbered = enumerate(episodes)
        return await asyncio.gather(*(play(policy, s, n, **options) for n, s in numbered))

    return asyncio.run(together())


@cache
def undisturbed(policy: HFPolicy) -> list[tuple[list[Message], list[Reply]]]:
    """All three episodes at once, as several tests want them."""
    return play_all(policy, scripts())


@torch.no_grad()
def anew(policy: HFPolicy, said: Said, reply: Reply, heat: float = 1.0) -> list[float]:
    """The reply's log-probabilities from one plain forward pass over everything before it."""
    assert reply.prompt_ids is not None
    assert reply.token_ids is not None
    pictures = [part.picture for each in said for part in each.images]
    shown = tuple(pictures[: len(reply.image_tokens)])
    whole = Prompt(reply.prompt_ids + reply.token_ids, shown, reply.image_tokens)
    scores = policy.model(**model_inputs(policy.model, policy.renderer, [whole])).logits[0]
    scores = scores.double().index_fill(1, torch.tensor(policy.vision_token_ids), -torch.inf)
    logprobs = torch.log_softmax(scores / heat, dim=-1)
    start = len(reply.prompt_ids)
    return [float(logprobs[start + i - 1, t]) for i, t in enumerate(reply.token_ids)]


def test_three_turns_with_images_say_the_same_as_everything_anew(policy: HFPolicy) -> None:
    for said, replies in undisturbed(policy):
        for reply in replies:
            assert reply.logprobs == pytest.approx(anew(policy, said, reply), abs=1e-4)
    assert policy._runner is not None
    assert policy._runner[1] is not None  # else nothing was held


def test_what_is_held_draws_the_same_tokens(policy: HFPolicy) -> None:
    played = undisturbed(policy)
    for number, (said, replies) in enumerate(played):
        for turn, reply in enumerate(replies):
            prompt = policy.renderer.prompt(said[: 2 * turn + 1])
            sampling = Sampling(1.0, 1.0, 9 + 3 * number, 100 * number + turn)
            ((ids,), (logprobs,)) = policy.generate([prompt], [sampling])
            assert ids == reply.token_ids
            assert logprobs == pytest.approx(reply.logprobs, abs=1e-4)


def test_the_order_of_events_changes_no_draw(policy: HFPolicy) -> None:
    """Tools of very different patience: rows join and leave in the midst of others' replies."""
    want = undisturbed(policy)
    got = play_all(policy, scripts(), pause=0.03)
    for (_, one), (_, other) in zip(want, got, strict=True):
        for a, b in zip(one, other, strict=True):
            assert a.token_ids == b.token_ids
            assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


@contextmanager
def counting(policy: HFPolicy, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Counts what the model reads: tokens, padding included, and images, and their preparation."""
    play_all(policy, scripts()[:1])  # the check at the first use reads too
    counts = {"tokens": 0, "images": 0, "prepared": 0}
    policy.renderer._encoded.clear()

    def read(_: Any, args: Any, kwargs: Any) -> None:
        counts["tokens"] += (kwargs["input"] if "input" in kwargs else args[0]).numel()

    def prepare(images: Any, **options: Any) -> Any:
        counts["prepared"] += 1 if isinstance(images, Image.Image) else len(_flat(images))
        return real(images, **options)

    real_make = inputs_module.ChunkInputs.make

    def make(self: Any, chunks: Any, pictures: Any, *rest: Any) -> Any:
        counts["images"] += sum(map(len, pictures))
        return real_make(self, chunks, pictures, *rest)

    owner = type(policy.renderer.processor.image_processor)
    real = policy.renderer.processor.image_processor.preprocess
    monkeypatch.setattr(owner, "preprocess", lambda _, images, *a, **o: prepare(images, **o))
    monkeypatch.setattr(inputs_module.ChunkInputs, "make", make)
    hook = policy.model.get_input_embeddings().register_forward_pre_hook(read, with_kwargs=True)
    try:
        yield counts
    finally:
        hook.remove()


def _flat(images: Any) -> list[Any]:
    return [each for i in images for each in (_flat(i) if isinstance(i, list) else [i])]


def test_no_token_is_read_twice(policy: HFPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    with counting(policy, monkeypatch) as counts:
        ((_, replies),) = play_all(policy, [scripts()[0]])
    last = replies[-1]
    # All but the very last token, which nobody reads.
    assert counts["tokens"] == len(last.prompt_ids) + len(last.token_ids) - 1
    assert counts["images"] == 4
    assert counts["prepared"] == 4


def test_a_group_reads_its_prompt_once(policy: HFPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    question = scripts()[0][:1]

    async def group() -> list[Any]:
        async def member(number: int) -> Reply:
            policy.enter()
            said = (message("user", "Which is it?", question[0]),)
            return await policy.act(said, Sampling(1.0, 1.0, 5, number))

        replies = await asyncio.gather(*map(member, range(4)))
        # One that comes later goes on from what the others' prompt left behind.
        replies.append(await member(0))
        for _ in replies:
            policy.leave()
        return replies

    monkeypatch.setattr(policy.renderer, "stop_token_ids", frozenset())
    monkeypatch.setattr(policy, "_decoder", None)
    with counting(policy, monkeypatch) as counts:
        replies = asyncio.run(group())
    policy._decoder = None
    assert counts["tokens"] == len(replies[0].prompt_ids) + 4 * 4 + 1 + 4
    assert (counts["images"], counts["prepared"]) == (1, 1)
    assert len({reply.token_ids for reply in replies}) == 4
    assert replies[0].token_ids == replies[-1].token_ids
    assert replies[0].logprobs == pytest.approx(replies[-1].logprobs, abs=1e-4)


def test_what_was_dropped_is_read_anew(policy: HFPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    want = undisturbed(policy)
    monkeypatch.setattr("medgym.agents.hf.kv_cache._limit_on", lambda _: 0)
    got = play_all(policy, scripts())
    for (_, one), (_, other) in zip(want, got, strict=True):
        for a, b in zip(one, other, strict=True):
            assert a.token_ids == b.token_ids
            assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


def test_nothing_is_held_of_who_has_left(policy: HFPolicy) -> None:
    async def two() -> int:
        long, short = scripts()[:2]
        other = asyncio.create_task(play(policy, long, 1, size=12, pause=0.2))
        await play(policy, short[:1])
        await asyncio.sleep(0.1)
        users = {user for held in policy._prefix_cache._entries.values() for user in held.users}
        await other
        return len(users)

    assert asyncio.run(two()) == 1
    assert len(policy._prefix_cache) == 0


def test_other_weights_use_nothing_of_what_was_held() -> None:
    """A trainer steps while an episode plays on: what follows is by the new weights alone."""
    policy = HFPolicy(*build("qwen3-vl", seed=1))
    script = scripts()[0]

    async def interrupted() -> tuple[Said, Reply]:
        policy.enter()
        said = [message("user", "Which?", script[0])]
        reply = await policy.act(tuple(said), Sampling(max_tokens=6))
        said.append(Message("assistant", (TextPart(reply.text),), reply))
        said.append(message("tool", "Here.", script[1]))
        with torch.no_grad():
            for weight in policy.model.parameters():
                weight.mul_(1.1)
        reply = await policy.act(tuple(said), Sampling(max_tokens=6))
        policy.leave()
        return said, reply

    said, reply = asyncio.run(interrupted())
    assert reply.logprobs == pytest.approx(anew(policy, said, reply), abs=1e-4)


def test_adapters_share_nothing_of_what_is_held(tmp_path: Path) -> None:
    """Two adapters and the base play the same cases at once, each from its own states."""
    model, processor = build("qwen3-vl")
    for seed in (1, 2):
        torch.manual_seed(seed)
        lora = LoraConfig(r=4, lora_alpha=64, target_modules=["q_proj", "v_proj"],
                          init_lora_weights=False)  # fmt: skip
        get_peft_model(copy.deepcopy(model), lora).save_pretrained(tmp_path / f"{seed}")
    base = HFPolicy(model, processor)
    players = {"": base, **{f"a{n}": base.with_adapter(f"a{n}", tmp_path / f"{n}") for n in (1, 2)}}

    async def together() -> list[Any]:
        return await asyncio.gather(*(play(p, scripts()[0]) for p in players.values()))

    for name, (said, replies) in zip(players, asyncio.run(together()), strict=True):
        with playing_by(base.model, name):
            for reply in replies:
                assert reply.logprobs == pytest.approx(anew(base, said, reply), abs=1e-4)


def test_a_policy_travels_without_what_it_holds() -> None:
    policy = policy_of("qwen3-vl")
    (want,) = play_all(policy, scripts()[:1])
    other = pickle.loads(pickle.dumps(policy))
    assert not other._runner
    (got,) = play_all(other, scripts()[:1])
    assert [reply.token_ids for reply in got[1]] == [reply.token_ids for reply in want[1]]


def test_episodes_of_the_same_words_and_other_images_share_nothing(policy: HFPolicy) -> None:
    """The same tokens throughout: only what the images show tells the two apart."""
    episodes = [[[picture(seed, 64, 64)], [picture(seed + 1, 64, 64)]] for seed in (20, 30)]

    async def both() -> list[Any]:
        return await asyncio.gather(*(play(policy, script) for script in episodes))

    for said, replies in asyncio.run(both()):
        for reply in replies:
            assert reply.logprobs == pytest.approx(anew(policy, said, reply), abs=1e-4)


@pytest.mark.parametrize("heat", [0.0, 0.7])
def test_sampling_settings_of_rows_stay_their_own(policy: HFPolicy, heat: float) -> None:
    prompts = [policy.renderer.prompt([message("user", "?" * (n + 1))]) for n in range(4)]
    samplings = [Sampling(heat if n % 2 else 1.0, 0.5 if n == 2 else 1.0, 4 + n, n)
                 for n in range(4)]  # fmt: skip
    together = policy.generate(prompts, samplings)
    for n, (prompt, sampling) in enumerate(zip(prompts, samplings, strict=True)):
        ((ids,), (logprobs,)) = policy.generate([prompt], [sampling])
        assert together[0][n] == ids
        assert together[1][n] == pytest.approx(logprobs, abs=1e-4)


def test_a_long_reply_outgrows_its_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medgym.agents.hf.kv_cache.SPARE", 4)
    policy = policy_of("qwen3-vl")
    monkeypatch.setattr(policy.renderer, "stop_token_ids", frozenset())
    prompt = policy.renderer.prompt([message("user", "?")])
    said = [message("user", "?")]
    ((ids,), (logprobs,)) = policy.generate([prompt], [Sampling(max_tokens=60)])
    reply = Reply("", prompt.ids, ids, logprobs)
    assert len(ids) == 60
    assert logprobs == pytest.approx(anew(policy, said, reply), abs=1e-4)


def test_prompts_of_like_lengths_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_of("qwen3-vl")
    runner = policy._found_runner()
    assert runner is not None
    lengths = [300, 5, 310, 6, 5, 290]
    prompts = [policy.renderer.prompt([message("user", "?" * n)]) for n in lengths]
    batches = runner.prefill([Prefill(prompt) for prompt in prompts], 4)
    assert [sorted(places) for _, places in batches] == [[1, 3, 4], [0, 2, 5]]
    monkeypatch.setattr(prefill, "FORWARD_TOKENS", 700)
    batches = runner.prefill([Prefill(prompt) for prompt in prompts], 4)
    assert [len(places) for _, places in batches] == [3, 2, 1]
    for batch, places in batches:
        assert batch.lengths == [len(prompts[place].ids) for place in places]


def test_pixels_are_kept_until_they_are_read_and_no_longer() -> None:
    policy = policy_of("qwen3-vl")
    pixels, one, other = inputs_module.PixelCache(), picture(40, 64, 32), picture(41, 48, 48)
    accepted = ("pixel_values", "image_grid_thw")
    want = inputs_module.pixels(policy.renderer, [one.image, other.image], accepted)
    made = inputs_module.pixels(policy.renderer, [one.image], accepted)
    pixels.keep([one.picture], {**made, "name": "no tensor"})
    got = pixels.of(policy.renderer, [[one.picture], [], [other.picture]], accepted)
    assert got.keys() == want.keys()
    assert all(torch.equal(got[name], want[name]) for name in want)
    assert not pixels._made
    assert pixels._bytes == 0
    pixels.limit = 0
    pixels.keep([one.picture], made)
    assert not pixels._made
