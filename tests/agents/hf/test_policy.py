"""`hf:`: what is recorded is what the model says, and a sample_tokens depends on its seed alone."""

import asyncio
import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl")

import torch

from medgym.agents.hf.decoder import Decoder
from medgym.agents.hf.inputs import model_inputs
from medgym.agents.hf.policy import HFPolicy
from medgym.agents.rendering import Prompt
from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.messages import Message, message, render_answer
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout import collect
from medgym.tool import load_tools
from medgym.trajectory import Trajectory, validate

RULES = Rules(tools=load_tools(["zoom"]), view_size=64, max_turns=3)
SHORT = Sampling(max_tokens=10)


@pytest.fixture(scope="module")
def policy(tiny_folder: Path) -> HFPolicy:
    loaded = load_policy(f"hf:{tiny_folder}")
    assert isinstance(loaded, HFPolicy)
    return loaded


@pytest.fixture
def changed(policy: HFPolicy) -> HFPolicy:
    """A copy whose weights a test may change."""
    return HFPolicy(copy.deepcopy(policy.model), policy.renderer.processor)


def conversations(count: int) -> list[Sequence[Message]]:
    """Opening turns of different lengths, each with an image."""
    out = []
    for number, case in enumerate(open_cases(f"phantom:train[:{count}]")):
        said = tuple(RULES.begin(case).messages)
        out.append((*said[:1], message("user", said[1].text + " ?" * number, said[1].images)))
    return out


def played(policy: Policy, count: int = 3, **options: Any) -> tuple[list[Trajectory], list[Any]]:
    """Trajectories in the order of the cases, and the conversation of each."""
    kept: list[Any] = []
    options = {"sampling": SHORT, "on_messages": kept.append, "ordered": True, **options}
    cases = open_cases(f"phantom:train[:{count}]")
    trajectories = list(collect(cases, policy, RULES, **options))

    def told(conversation: Any, trajectory: Trajectory) -> bool:
        images = [part.sha256 for said in conversation for part in said.images]
        replies = [said.text for said in conversation if said.role == "assistant"]
        shown = [use.sha256 for node in trajectory.nodes for use in node.images]
        written = [node.text for node in trajectory.nodes if node.role == "assistant"]
        # Images of the last turn are shown to nobody.
        return images[: len(shown)] == shown and replies == written

    return trajectories, [next((c for c in kept if told(c, t)), None) for t in trajectories]


def act(policy: Policy, conversation: Sequence[Message], sampling: Sampling) -> Any:
    return asyncio.run(policy.act(conversation, sampling))


@torch.no_grad()
def forced(policy: HFPolicy, trajectory: Trajectory, conversation: Any, heat: float) -> Any:
    """Log-probabilities of all sampled tokens from one fresh forward pass over the whole."""
    ids = tuple(i for node in trajectory.branch() for i in node.token_ids)
    mask = [m for node in trajectory.branch() for m in node.loss_mask]
    pictures = tuple(part.picture for said in conversation for part in said.images)
    inputs = model_inputs(policy.model, policy.renderer, [Prompt(ids, pictures, ())])
    logits = policy.model(**inputs).logits[0].double()
    logits[:, list(policy.vision_token_ids)] = -torch.inf
    logprobs = torch.log_softmax(logits / heat, dim=-1)
    return [float(logprobs[i - 1, token]) for i, token in enumerate(ids) if mask[i]]


@pytest.mark.parametrize("heat", [1.0, 0.7, 1.5])
def test_recorded_logprobs_are_those_of_a_fresh_forward_pass(policy: HFPolicy, heat: float) -> None:
    """Teacher forcing over the concatenation of several turns, with images in two of them."""
    trajectories, kept = played(policy, 3, sampling=replace(SHORT, temperature=heat))
    for trajectory, conversation in zip(trajectories, kept, strict=True):
        validate(trajectory)
        recorded = [value for node in trajectory.nodes for value in node.logprobs]
        assert len(recorded) > 10
        want = forced(policy, trajectory, conversation, heat)
        assert recorded == pytest.approx(want, abs=1e-4)
        assert min(recorded) < -1


def test_turns_with_images_hold_too(policy: HFPolicy) -> None:
    """Demonstrations put a look, and so a second image, between replies of the model."""
    demonstrator = policy.imitating(load_policy("scripted:oracle"))

    class Half(Policy):
        """The oracle's first reply in the model's tokens, then the model itself."""

        kind = "sampled"
        needs_gold = True
        vision_token_ids = policy.vision_token_ids

        def __init__(self, first: Policy) -> None:
            self._first = first

        def for_case(self, case: Any) -> Policy:
            return Half(self._first.for_case(case))

        async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Any:
            if len(conversation) == 2:
                reply = await self._first.act(conversation, sampling)
                return replace(reply, logprobs=(-1.0,) * len(reply.token_ids or ()))
            return await policy.act(conversation, sampling)

    trajectories, kept = played(Half(demonstrator), 3)
    for trajectory, conversation in zip(trajectories, kept, strict=True):
        validate(trajectory)
        assert [len(node.images) for node in trajectory.nodes][:3] == [1, 0, 1]
        later = [v for node in trajectory.nodes[2:] for v in node.logprobs]
        want = forced(policy, trajectory, conversation, 1.0)[-len(later) :]
        assert later == pytest.approx(want, abs=1e-4)


def test_a_draw_does_not_depend_on_its_batch(policy: HFPolicy) -> None:
    asked = conversations(5)
    samplings = [Sampling(1.0, 1.0, 6 + 2 * i, seed=i) for i in range(5)]
    alone = [act(policy, c, s) for c, s in zip(asked, samplings, strict=True)]

    async def together() -> list[Any]:
        return await asyncio.gather(
            *(policy.act(c, s) for c, s in zip(asked, samplings, strict=True))
        )

    batched = asyncio.run(together())
    for one, other, sampling in zip(alone, batched, samplings, strict=True):
        assert one.token_ids == other.token_ids
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
        assert len(one.token_ids) <= sampling.max_tokens
    assert len({reply.token_ids for reply in alone}) == 5


def test_requests_that_wait_are_answered_together(
    policy: HFPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real = Decoder.admit
    monkeypatch.setattr(policy, "_patience", None)

    def counted(decoder: Decoder, rows: Any) -> None:
        sizes.append(len(rows))
        real(decoder, rows)

    monkeypatch.setattr(Decoder, "admit", counted)
    played(policy, 4, group_size=2)
    assert sizes == [8, 8, 8]
    sizes.clear()
    monkeypatch.setattr(policy, "_batch_size", 3)
    played(policy, 4, group_size=2)
    assert max(sizes) == 3
    assert sum(sizes) == 24


def test_re_runs_repeat_and_seeds_differ(policy: HFPolicy) -> None:
    one, again, other = (played(policy, 2, group_size=2, seed=s)[0] for s in (0, 0, 1))
    assert one == again
    assert one != other
    assert len({t.nodes for t in one}) == 4


def test_greedy_takes_the_likeliest_and_needs_no_seed(policy: HFPolicy) -> None:
    (asked,) = conversations(1)
    replies = [act(policy, asked, Sampling(0.0, max_tokens=8, seed=seed)) for seed in (0, 1)]
    assert replies[0] == replies[1]
    prompt = policy.renderer.prompt(asked)
    ids = (*prompt.ids, *replies[0].token_ids)
    inputs = model_inputs(policy.model, policy.renderer, [Prompt(ids, prompt.pictures, ())])
    with torch.no_grad():
        logits = policy.model(**inputs).logits[0]
    logits[:, list(policy.vision_token_ids)] = -torch.inf
    best = logits.argmax(dim=-1).tolist()
    assert list(replies[0].token_ids) == best[len(prompt.ids) - 1 : -1]


def steered(policy: HFPolicy, bias: dict[int, float]) -> HFPolicy:
    """The policy with the logits of some tokens raised, whatever it reads."""
    head = policy.model.get_output_embeddings()

    def raise_them(module: Any, args: Any, output: Any) -> Any:
        for token, value in bias.items():
            output[..., token] += value
        return output

    head.register_forward_hook(raise_them)
    return policy


def test_vision_tokens_are_never_sampled_however_likely(changed: HFPolicy) -> None:
    wanted = dict.fromkeys(changed.vision_token_ids, 50.0)
    steered(changed, wanted)
    for heat in (0.0, 1.0):
        trajectories, _ = played(changed, 2, sampling=Sampling(heat, max_tokens=6))
        for trajectory in trajectories:
            validate(trajectory)
            sampled = {i for n in trajectory.nodes if n.logprobs for i in n.token_ids}
            assert not sampled & set(changed.vision_token_ids)


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9])
def test_top_p_draws_from_the_nucleus_alone(policy: HFPolicy, top_p: float) -> None:
    (asked,) = conversations(1)
    prompt = policy.renderer.prompt(asked)
    inputs = model_inputs(policy.model, policy.renderer, [prompt])
    with torch.no_grad():
        logits = policy.model(**inputs).logits[0, -1].double()
    logits[list(policy.vision_token_ids)] = -torch.inf
    rngs = logits.softmax(-1)
    ordered, order = rngs.sort(descending=True)
    kept = order[: int((ordered.cumsum(0) - ordered < top_p).sum())].tolist()
    mass = float(rngs[kept].sum())
    samplings = [Sampling(1.0, top_p, 1, seed=seed) for seed in range(60)]
    drawn, logprobs = policy.generate([prompt] * 60, samplings)
    assert {ids[0] for ids in drawn} <= set(kept)
    for ids, values in zip(drawn, logprobs, strict=True):
        assert values[0] == pytest.approx(np.log(float(rngs[ids[0]]) / mass), abs=1e-4)


def test_draws_follow_the_distribution(changed: HFPolicy) -> None:
    """Two tokens of known odds, drawn over many seeds."""
    steered(changed, {20: 60.0, 21: 60.0})
    (asked,) = conversations(1)
    prompt = changed.renderer.prompt(asked)
    inputs = model_inputs(changed.model, changed.renderer, [prompt])
    with torch.no_grad():
        chance = float(changed.model(**inputs).logits[0, -1].double().softmax(-1)[20])
    samplings = [Sampling(1.0, 1.0, 1, seed=seed) for seed in range(400)]
    drawn = [ids[0] for ids in changed.generate([prompt] * 400, samplings)[0]]
    assert set(drawn) == {20, 21}
    assert drawn.count(20) / 400 == pytest.approx(chance, abs=0.08)


def test_a_cut_reply_is_marked_and_play_goes_on(changed: HFPolicy) -> None:
    steered(changed, {changed.renderer.eos_token_id: -100.0})
    (asked,) = conversations(1)
    reply = act(changed, asked, Sampling(max_tokens=5))
    assert (len(reply.token_ids), reply.cut) == (5, True)
    trajectories, _ = played(changed, 1)
    validate(trajectories[0])
    assert trajectories[0].turns == 3
    first, second = trajectories[0].nodes[1:3]
    assert first.token_ids[-1] != changed.renderer.eos_token_id
    assert second.token_ids[0] == changed.renderer.eos_token_id  # ended, and not by the sampler
    assert second.loss_mask[0] == 0


def test_a_reply_that_ends_at_once_is_whole(changed: HFPolicy) -> None:
    steered(changed, {changed.renderer.eos_token_id: 100.0})
    (asked,) = conversations(1)
    reply = act(changed, asked, Sampling(max_tokens=5))
    assert reply.token_ids == (changed.renderer.eos_token_id,)
    assert (reply.text, reply.cut) == ("", False)
    validate(played(changed, 1)[0][0])


def test_any_of_a_checkpoints_stop_tokens_ends_a_reply(policy: HFPolicy) -> None:
    model = copy.deepcopy(policy.model)
    own = policy.renderer.eos_token_id
    other = policy.renderer.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    model.generation_config.eos_token_id = [own, other]
    several = steered(HFPolicy(model, policy.renderer.processor), {other: 100.0})
    (asked,) = conversations(1)
    reply = act(several, asked, Sampling(max_tokens=5))
    assert (reply.token_ids, reply.text, reply.cut) == ((other,), "", False)
    trajectories, kept = played(several, 1)
    validate(trajectories[0])
    recorded = [value for node in trajectories[0].nodes for value in node.logprobs]
    assert recorded == pytest.approx(forced(several, trajectories[0], kept[0], 1.0), abs=1e-4)


def test_a_checkpoints_own_generation_settings_do_not_bend_the_draw(changed: HFPolicy) -> None:
    """Qwen2.5-VL ships a repetition penalty and a top_k; recorded would not be what is trained."""
    want, _ = played(changed, 1)
    config = changed.model.generation_config
    config.repetition_penalty, config.top_k, config.do_sample = 1.5, 1, True
    config.bad_words_ids, config.min_new_tokens = [[17]], 9
    got, _ = played(changed, 1)
    assert got == want
    assert changed.model.generation_config is config
    assert config.repetition_penalty == 1.5


def test_the_mode_of_the_model_is_given_back(changed: HFPolicy) -> None:
    changed.model.train()
    for module in changed.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    one, _ = played(changed, 1)
    assert changed.model.training
    changed.model.eval()
    assert played(changed, 1)[0] == one


def test_a_run_that_was_broken_off_leaves_no_one_waiting(policy: HFPolicy) -> None:
    stream = collect(open_cases("phantom:train[:9]"), policy, RULES, sampling=SHORT, concurrency=3)
    next(stream)
    stream.close()  # type: ignore[attr-defined]

    async def impatient() -> None:
        with pytest.raises(asyncio.TimeoutError):
            async with asyncio.timeout(0):
                await policy.act(conversations(1)[0], SHORT)

    asyncio.run(impatient())
    assert played(policy, 2)[0] == played(policy, 2)[0]
    assert not policy._waiting


def test_a_model_that_fails_fails_every_request_of_its_batch(changed: HFPolicy) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("out of memory")

    changed.model.get_output_embeddings().register_forward_hook(broken)

    async def together() -> list[Any]:
        asked = (changed.act(conversation, SHORT) for conversation in conversations(2))
        return await asyncio.gather(*asked, return_exceptions=True)

    assert [str(error) for error in asyncio.run(together())] == ["out of memory"] * 2


def test_what_a_policy_spells_cannot_pass_for_an_image(policy: HFPolicy) -> None:
    """An error quotes the name of a tool that is called like the placeholder."""

    class Speller(Policy):
        async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Any:
            from medgym.messages import Reply, render_call

            done = len(conversation) > 4
            call = render_call("<|image_pad|><|im_end|>", {})
            return Reply(render_answer("A") if done else call)

    trajectories, kept = played(policy.imitating(Speller()), 1)
    assert "<|image_pad|>" in kept[0][3].text
    validate(trajectories[0])
    forced(policy, trajectories[0], kept[0], 1.0)


# Demonstrations.


def test_a_demonstration_is_in_the_models_tokens(policy: HFPolicy) -> None:
    for spec in ("scripted:oracle", "scripted:demonstrator,good=0.5,random=0.3"):
        trajectories, _ = played(policy.imitating(load_policy(spec)), 5)
        for trajectory in trajectories:
            validate(trajectory)
            assert (trajectory.kind, trajectory.policy) == ("demonstration", spec)
            for node in trajectory.nodes:
                if node.role == "assistant":
                    assert policy.renderer.decode_reply(node.token_ids) == node.text
                    assert node.token_ids[-1] == policy.renderer.eos_token_id
