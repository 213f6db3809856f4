"""`?tools=native`: tools and calls as the protocol has them, against a server on this machine."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.failures import Failure
from medgym.messages import (
    Calls,
    Malformed,
    Message,
    Reply,
    Usage,
    parse_action,
    render_answer,
    render_call,
)
from medgym.policy import Sampling
from medgym.rollout import collect
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Trajectory
from tests.serving.fake_server import BOX, CHAT, Script, Server, answer, failing, models

NATIVE = "?tools=native&retries=0"
CASE = open_cases("phantom,look=ct,question=kind:test[:1]")[0]
USAGE = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}


def call(name: str, arguments: Any, id: str = "a") -> dict[str, Any]:
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": id, "type": "function", "function": {"name": name, "arguments": written}}


def calling(*calls: Any, text: str | None = None, **more: Any) -> Script:
    said = {"role": "assistant", "content": text, "tool_calls": list(calls), **more}
    choice = {"message": said, "finish_reason": "tool_calls"}
    return lambda handler, body: handler.say({"choices": [choice], "usage": USAGE})


ZOOM = {"view": 0, "box": BOX}
DONE = answer("<answer>A</answer>")


def play(policy: Any, *, out: RunFolder | None = None) -> Trajectory:
    rules = Rules.for_cases([CASE], tools=["zoom"], max_turns=4)
    (played,) = collect([CASE], policy, rules, sampling=Sampling(temperature=0), out=out)
    assert played.failure is None
    return played


def sent(server: Server) -> list[dict[str, Any]]:
    """The messages of the last request."""
    messages: list[dict[str, Any]] = server.bodies(CHAT)[-1]["messages"]
    return messages


def test_tools_are_in_the_request_and_results_answer_their_calls(
    server: Server, policy: Any
) -> None:
    calls = call("zoom", ZOOM, "x"), call("zoom", {"view": 0, "box": [500, 500, 1000, 1000]}, "y")
    server.scripted(answer("probed"), calling(*calls), DONE)
    played = play(policy(NATIVE))
    body = server.bodies(CHAT)[1]
    (tool,) = body["tools"]
    assert tool["type"] == "function"
    assert tool["function"]["name"] == "zoom"
    assert tool["function"]["parameters"]["type"] == "object"
    assert "<tool_call>" not in json.dumps(body["messages"])  # the server lists tools, not we
    system, _, called, first, second, shown = sent(server)
    assert "Call functions" in system["content"]
    assert called["tool_calls"] == list(calls)
    assert called["content"] is None
    assert [(m["role"], m["tool_call_id"]) for m in (first, second)] == [
        ("tool", "x"),
        ("tool", "y"),
    ]
    assert first["content"].startswith("View 1: ")
    assert second["content"].startswith("View 2: ")
    # Messages of tools hold text only where the server is not known to take more.
    assert shown["role"] == "user"
    assert [part["type"] for part in shown["content"]] == ["image_url", "image_url", "text"]
    # What is kept has medgym's own form, as that of any other policy.
    texts = [node.text for node in played.nodes if node.role == "assistant"]
    assert texts == [
        "\n".join(render_call("zoom", json.loads(c["function"]["arguments"])) for c in calls),
        "<answer>A</answer>",
    ]
    assert (played.calls, played.malformed, len(played.looks)) == (("zoom", "zoom"), 0, 2)


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        (calling(call("zoom", '{"view": 0,')), "json", "a call is not JSON (Expecting"),
        (calling(call("zoom", '{"view": 0, "view": 1}')), "json", "(a key stands twice)"),
        (calling(call("zoom", "[1]")), "call", "a call has another form"),
        (calling(call("zoom", '{}}</tool_call><tool_call>{"name":"zoom"')), "json", "not JSON"),
        (calling(*[call("zoom", ZOOM, str(n)) for n in range(5)]), "call", "5 calls in one"),
        (calling(call("zoom", ZOOM), text="<answer>B</answer>"), "both", "a call and an answer"),
        (calling(call("zoom", {"view": "x" * 17_000})), "length", "over 16384 characters"),
        (answer("It is B."), "form", "cannot read the reply"),
        (answer("<tool_call>{zoom</tool_call>"), "json", "a call is not JSON"),
    ],
    ids=["broken", "twice", "list", "tags", "five", "answers", "long", "prose", "unparsed"],
)
def test_what_cannot_be_read_is_an_observation(
    server: Server, policy: Any, reply: Script, kind: str, told: str
) -> None:
    server.scripted(answer("probed"), reply, DONE)
    played = play(policy(NATIVE))
    assert (played.answer, played.faults) == ("A", (kind,))
    said, error = sent(server)[2:]
    assert (said["role"], error["role"]) == ("assistant", "user")
    assert "tool_calls" not in said  # a server would stumble over what it cannot read either
    assert error["content"].startswith("Error: ")
    assert told in error["content"]
    assert "<tool_call>" not in error["content"]
    assert "expected" in error["content"]
    # Whoever reads what is stored finds the same.
    text = played.nodes[1].text
    assert isinstance(parse_action(text), Malformed)


@pytest.mark.parametrize(
    ("given", "fault", "told"),
    [
        (call("zoomm", {}), "name", "Error: there is no tool 'zoomm'; expected one of zoom."),
        (call("zoom", {"view": 9, "box": BOX}), "value", "Error: "),
        (call("zoom", ""), "name", "Error: "),
    ],
    ids=["unknown tool", "no such view", "no arguments"],
)
def test_a_call_that_is_refused_is_answered_under_its_id(
    server: Server, policy: Any, given: dict[str, Any], fault: str, told: str
) -> None:
    server.scripted(answer("probed"), calling(given), DONE)
    played = play(policy(NATIVE))
    assert (played.failed_calls, played.malformed) == (1, 0)
    result = sent(server)[3]
    assert (result["role"], result["tool_call_id"]) == ("tool", "a")
    assert result["content"].startswith(told)


@pytest.mark.parametrize(
    ("text", "more", "thought"),
    [
        ("I look closer.", {}, "I look closer."),
        ("<think>hm</think> I look.", {}, "hm\nI look."),
        ("Look.</think>", {"reasoning_content": "hm"}, "hm\nLook.< /think>"),
        (None, {"reasoning": "hm"}, "hm"),
    ],
)
def test_a_text_beside_a_call_is_its_thought(
    server: Server, policy: Any, text: str | None, more: dict[str, Any], thought: str
) -> None:
    server.scripted(answer("probed"), calling(call("zoom", ZOOM), text=text, **more), DONE)
    played = play(policy(NATIVE))
    assert (played.calls, played.malformed) == (("zoom",), 0)
    action = parse_action(played.nodes[1].text)
    assert isinstance(action, Calls)
    assert action.think == thought


def test_ids_that_are_missing_or_the_same_are_made(server: Server, policy: Any) -> None:
    twice = calling(call("zoom", ZOOM, "a"), call("zoom", ZOOM, "a"))
    none = calling({"function": {"name": "zoom", "arguments": ZOOM}})
    server.scripted(answer("probed"), twice, none, DONE)
    assert play(policy(NATIVE)).failed_calls == 0
    messages = sent(server)
    ids = [call["id"] for m in messages for call in m.get("tool_calls", ())]
    assert len(set(ids)) == 3
    assert [m["tool_call_id"] for m in messages if m["role"] == "tool"] == ids


def test_a_call_that_is_none_is_a_failure_of_the_server(
    server: Server, policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medgym.rollout.collection.RETRIES", 0)
    server.scripted(answer("probed"), calling({"function": "zoom"}))
    rules = Rules.for_cases([CASE], tools=["zoom"])
    (played,) = collect([CASE], policy(NATIVE), rules)
    assert "unexpected reply" in str(played.failure)


def test_an_episode_goes_on_from_what_was_stored(
    server: Server, policy: Any, tmp_path: Path
) -> None:
    """A stored reply has no ids of a server: it is told as if it had called by its own."""
    server.scripted(answer("probed"), calling(call("zoom", ZOOM), text="hm"), DONE)
    first = play(policy(NATIVE))
    rules = Rules.for_cases([CASE], tools=["zoom"], max_turns=4)
    before = len(server.bodies(CHAT))
    (again,) = collect([CASE], policy(NATIVE), rules, resume_from=(first, 1))
    assert again.failure is None
    assert len(server.bodies(CHAT)) - before == 2  # the probe and the last reply
    called, result = sent(server)[2:4]
    assert called["content"] == "<think>hm</think>"
    assert called["tool_calls"][0]["id"] == result["tool_call_id"]


def test_tokens_are_those_that_the_server_counts(server: Server, policy: Any) -> None:
    server.scripted(answer("probed"), calling(call("zoom", ZOOM)))
    player = policy(NATIVE)
    reply = asyncio.run(player.act(tuple(conversation()), Sampling()))
    assert reply.usage == Usage(100, 7)
    server.scripted(lambda h, b: h.say({"choices": [{"message": {"content": "x"}}], "usage": 3}))
    assert asyncio.run(player.act(tuple(conversation()), Sampling())).usage is None


def conversation() -> list[Message]:
    return Rules.for_cases([CASE], tools=["zoom"]).begin(CASE).messages


def test_a_server_without_tools_is_named_before_anything_is_played(
    server: Server, policy: Any
) -> None:
    server.scripted(failing(400))
    asyncio.run(policy(NATIVE).check())  # not a word of tools: it shows again at the first reply
    refusal = {"error": {"message": "this model does not support tools"}}
    server.scripted(lambda handler, body: handler.say(refusal, 400))
    with pytest.raises(UserError, match=r"cannot play with tools=native .*; fix: ask a model"):
        asyncio.run(policy(NATIVE).check())
    server.routes["/v1/models"] = models("vllm")
    refusal["error"]["message"] = '"auto" tool choice requires --tool-call-parser to be set'
    with pytest.raises(UserError, match=r"fix: start vLLM with --enable-auto-tool-choice"):
        asyncio.run(policy(NATIVE).check())


def test_it_does_not_train(server: Server, policy: Any) -> None:
    server.scripted(answer("probed"))
    with pytest.raises(UserError, match="can play, but not train: the server writes its tools"):
        policy(NATIVE).require_training()


def test_options_that_exclude_each_other_or_stand_after_the_model(
    server: Server, policy: Any
) -> None:
    with pytest.raises(UserError, match="fix: omit one of them"):
        policy(f"{NATIVE}&tool_form=native")
    with pytest.raises(UserError, match="tools of openai"):
        policy("?tools=natve")
    with pytest.raises(UserError, match=r"fix: write openai:URL\?option=value#MODEL"):
        policy(model="base?tools=native")


def test_a_demonstration_is_told_as_calls(server: Server, policy: Any) -> None:
    server.scripted(answer("probed"), DONE)
    told = [
        *conversation(),
        Message("assistant", (), Reply(render_answer("?"))),
    ]
    asyncio.run(policy(NATIVE).act(tuple(told), Sampling()))
    assert sent(server)[-1]["role"] == "assistant"


EXTRA = (
    "%7B%22chat_template_kwargs%22%3A%7B%22enable_thinking%22%3Afalse%7D%2C"
    "%22provider%22%3A%7B%22api_key%22%3A%22very-secret-1%22%7D%7D"
)


def test_fields_of_ones_own_are_in_the_request_and_secrets_in_no_record(
    server: Server, policy: Any
) -> None:
    refusal = {"error": {"message": "no: very-secret-1"}}
    server.scripted(DONE, lambda h, b: h.say(refusal, 400))
    player = policy(f"?extra={EXTRA}&retries=0")
    asyncio.run(player.act(tuple(conversation()), Sampling()))
    body = server.bodies(CHAT)[-1]
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body["provider"] == {"api_key": "very-secret-1"}
    assert "very-secret-1" not in player.spec
    assert "enable_thinking" in player.spec
    with pytest.raises(Failure, match="400: no: ") as caught:
        asyncio.run(player.act(tuple(conversation()), Sampling()))
    assert "very-secret-1" not in str(caught.value)
    with pytest.raises(UserError, match=r"written as \[redacted\]"):
        type(player).from_spec(player.spec.removeprefix("openai:"), None)


@pytest.mark.parametrize("written", ['{"reasoning_effort":"low"}', "%7B%22n%22%3A5%7D"])
def test_fields_as_they_are_written(server: Server, policy: Any, written: str) -> None:
    server.scripted(DONE)
    if "%22n%22" in written:
        with pytest.raises(UserError, match="extra sets n, which medgym sets itself; fix: "):
            policy(f"?extra={written}")
        return
    asyncio.run(policy(f"?extra={written}").act(tuple(conversation()), Sampling()))
    assert server.bodies(CHAT)[-1]["reasoning_effort"] == "low"
    # What a model's card recommends, in place of what else keeps the distribution as it is.
    said = '{"top_k":20,"presence_penalty":1.5}'
    asyncio.run(policy(f"?extra={said}").act(tuple(conversation()), Sampling()))
    assert server.bodies(CHAT)[-1].items() >= {("top_k", 20), ("presence_penalty", 1.5)}
    for broken in ("[1]", "{", "low"):
        with pytest.raises(UserError, match="extra is no JSON object; fix: "):
            policy(f"?extra={broken}")
