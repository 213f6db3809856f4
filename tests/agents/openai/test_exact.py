"""`openai:` against a server that answers as vLLM does: exact tokens, or a reason why not."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from medgym.agents.prompt_check import DriftError
from medgym.agents.rendering import Renderer
from medgym.agents.text_processor.processor import TextRenderer
from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.messages import Message, Reply, TextPart, message
from medgym.policy import Policy, load_policy
from medgym.rollout import roll_out
from medgym.storage.adapters import Samplers, publish
from medgym.trajectory import Trajectory
from tests.serving.fake_server import CHAT, QUESTION, FakeVLLM, Handler, Server, ask, failing


@pytest.fixture
def vllm(server: Server, tiny_folder: Path, tiny_processor: Any) -> FakeVLLM:
    return FakeVLLM(server, tiny_folder, Renderer(tiny_processor))


def lora(folder: Path, width: int = 32) -> Path:
    """An adapter for the served model's first layer, which is 32 wide."""
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    layer = "base_model.model.model.language_model.layers.0.self_attn.q_proj"
    save_file(
        {f"{layer}.lora_A.weight": np.zeros((2, width), np.float32)},
        folder / "adapter_model.safetensors",
    )
    return folder


def follow(reply: Reply) -> tuple[Message, ...]:
    return (
        *QUESTION,
        Message("assistant", (TextPart(reply.text),), reply),
        message("tool", "Again.", [QUESTION[1].images[0]]),
    )


@pytest.mark.parametrize("chat_only", [False, True])
def test_replies_of_vllm_hold_every_token(
    server: Server, vllm: FakeVLLM, policy: Any, chat_only: bool
) -> None:
    vllm.chat_only = chat_only
    player = policy()
    player.require_training()
    assert (player.kind, player.trains) == ("sampled", True)
    assert player.vision_token_ids == vllm.renderer.vision_token_ids
    first = ask(player)
    second = ask(player, follow(first))
    assert first.prompt_ids == vllm.renderer.prompt(QUESTION).ids
    assert first.token_ids == vllm.renderer.encode_reply("<answer>A</answer>")
    assert first.logprobs == (0.0,) * len(first.token_ids)
    assert second.prompt_ids[: len(first.prompt_ids)] == first.prompt_ids
    assert second.image_tokens == (4, 4)
    path = CHAT if chat_only else "/inference/v1/generate"
    sent = server.bodies(path)[-1]
    banned = (sent if chat_only else sent["sampling_params"])["bad_words"]
    assert {vllm.renderer.tokenizer.convert_tokens_to_ids(word) for word in banned} == set(
        vllm.renderer.vision_token_ids
    )


@pytest.mark.parametrize("chat_only", [False, True])
def test_an_engine_that_read_other_tokens_is_found_out(
    vllm: FakeVLLM, policy: Any, chat_only: bool
) -> None:
    vllm.chat_only = chat_only
    player = policy()
    player.require_training()
    vllm.lose = True
    with pytest.raises(DriftError, match="differ from token") as caught:
        ask(player)
    assert caught.value.boundary == "policy"


def test_what_only_plays_is_rendered_without_transformers(vllm: FakeVLLM, policy: Any) -> None:
    player = policy()
    first = ask(player)
    assert isinstance(player._renderer, TextRenderer)
    assert first.prompt_ids == vllm.renderer.prompt(QUESTION).ids
    player.require_training()
    assert type(player._renderer) is Renderer
    assert ask(player, follow(first)).prompt_ids == vllm.renderer.prompt(follow(first)).ids


@pytest.mark.parametrize("reads", ["other texts", "other images", "no texts"])
def test_a_server_that_reads_otherwise_is_rendered_for_by_transformers(
    server: Server, vllm: FakeVLLM, policy: Any, reads: str
) -> None:
    if reads == "other images":
        vllm.lose = True
    elif reads == "other texts":
        server.routes["/tokenize"] = lambda handler, body: handler.say({"tokens": [1, 2]})
    else:
        server.routes["/tokenize"] = failing(500)
    player = policy()
    asyncio.run(player.check())
    assert type(player._renderer) is Renderer


def test_drift_is_counted_where_nothing_trains(vllm: FakeVLLM, policy: Any) -> None:
    vllm.chat_only = True
    player = policy()
    first = ask(player)
    ask(player, follow(first))
    assert (player.kind, player.drifts) == ("text", 0)
    vllm.lose = True
    assert ask(player, follow(first)).token_ids is None
    assert player.drifts == 1


def test_raw_log_probabilities_do_not_train(vllm: FakeVLLM, policy: Any) -> None:
    vllm.raw = True
    player = policy()
    asyncio.run(player.check())
    assert (player.kind, player.trains) == ("text", False)
    with pytest.raises(UserError, match="--logprobs-mode processed_logprobs"):
        player.require_training()


def test_a_server_whose_processor_is_elsewhere(
    vllm: FakeVLLM, policy: Any, tiny_folder: Path, tmp_path: Path
) -> None:
    vllm.entries["base"]["root"] = str(tmp_path / "far")
    player = policy()
    assert ask(player).text == "<answer>A</answer>"
    with pytest.raises(UserError, match=r"no processor.*; fix: add \?processor=FOLDER"):
        player.require_training()
    policy(f"?processor={tiny_folder}").require_training()
    with pytest.raises(UserError, match="no processor in"):
        asyncio.run(policy(f"?processor={tmp_path}").check())


@pytest.mark.parametrize("chat_only", [False, True])
def test_a_reply_ends_at_whatever_token_the_checkpoint_names(
    vllm: FakeVLLM, policy: Any, chat_only: bool
) -> None:
    """vLLM stops at all that generation_config names; the template's end is only one of them."""
    vllm.chat_only = chat_only
    tokenizer = vllm.renderer.tokenizer
    (other,) = tokenizer("<|endoftext|>", add_special_tokens=False)["input_ids"]
    assert other != vllm.renderer.eos_token_id
    vllm.answers["base"][-1] = other
    player = policy()
    player.require_training()
    first = ask(player)
    assert first.text == "<answer>A</answer>"
    assert first.token_ids == tuple(vllm.answers["base"])
    if chat_only:  # which renders the template's end in its place: a drift, and found out
        with pytest.raises(DriftError):
            ask(player, follow(first))
        return
    second = ask(player, follow(first))
    assert second.prompt_ids is not None
    held = vllm.renderer.prompt(QUESTION).ids + first.token_ids
    assert second.prompt_ids[: len(held)] == held


@pytest.mark.parametrize("chat_only", [False, True])
def test_a_prompt_that_leaves_no_room_is_not_sent(
    server: Server, vllm: FakeVLLM, policy: Any, chat_only: bool
) -> None:
    vllm.chat_only = chat_only
    player = policy()
    player.require_training()
    asked = len(server.asked)
    length = len(vllm.renderer.prompt(QUESTION).ids)
    assert ask(player, max_tokens=40, max_context=length + 39).full
    assert len(server.asked) == asked
    assert not ask(player, max_tokens=40, max_context=length + 40).full


@pytest.mark.parametrize("far", [False, True])
def test_a_server_without_a_chat_template_is_one_line(
    vllm: FakeVLLM, policy: Any, tmp_path: Path, far: bool
) -> None:
    """Unless it is sent token ids, rendered here."""
    vllm.mute = True
    if not far:
        return asyncio.run(policy().check())
    vllm.entries["base"]["root"] = "a/hub-name"
    with pytest.raises(UserError, match=r"base at http.* cannot play .*no chat template.*; fix"):
        asyncio.run(policy().check())


def test_two_roles_play_side_by_side_from_one_base(
    server: Server, vllm: FakeVLLM, policy: Any, tmp_path: Path
) -> None:
    base = policy()
    run = tmp_path / "run"
    players = {}
    for role, letter in (("triage", "B"), ("attending", "C")):
        version = publish(lora(tmp_path / role), run, role, 1)
        vllm.answers[version.name] = list(vllm.renderer.encode_reply(f"<answer>{letter}</answer>"))
        (players[version.name],) = Samplers([base]).load(version)
    rules = Rules(view_size=32)
    cases = open_cases("phantom:train[:3]")

    async def all_at_once() -> list[list[Trajectory]]:
        return await asyncio.gather(*(all_of(each) for each in (base, *players.values())))

    async def all_of(player: Policy) -> list[Trajectory]:
        return [await roll_out(case, player, rules) for case in cases]

    for (name, says), played in zip(
        {"": "A", "triage-1": "B", "attending-1": "C"}.items(),
        asyncio.run(all_at_once()),
        strict=True,
    ):
        spec = f"openai:{server.url}#base" + (f"@{name}" if name else "")
        assert {(t.version, t.policy, t.answer) for t in played} == {(name, spec, says)}
        assert load_policy(spec).version == name


def test_an_adapter_for_another_base_never_reaches_the_server(
    server: Server, vllm: FakeVLLM, policy: Any, tmp_path: Path
) -> None:
    folder = lora(tmp_path / "lora", width=7)
    with pytest.raises(UserError, match=r"does not fit the base .*; fix: name the adapter's own"):
        asyncio.run(policy(model=f"base@{folder}").check())
    assert server.bodies("/v1/load_lora_adapter") == []


def test_a_server_that_takes_no_image_answers_texts(
    server: Server, vllm: FakeVLLM, policy: Any
) -> None:
    """As it does for a judge."""
    vllm.entries["base"]["root"] = "a/hub-name"
    vllm.chat_only = True

    def texts_only(handler: Handler, body: Any) -> None:
        if any(not isinstance(each["content"], str) for each in body["messages"]):
            handler.say({"error": {"message": "at most 0 images may be provided"}}, 400)
        else:
            vllm.chat(handler, body)

    server.routes[CHAT] = texts_only
    with pytest.raises(UserError, match=r"cannot play \(.*0 images"):
        asyncio.run(policy().check())
    judge = policy()
    judge.text_only = True
    asyncio.run(judge.check())
    asked = (message("system", "Grade."), message("user", "Is it right?"))
    assert ask(judge, asked, temperature=0.0).text == "<answer>A</answer>"
