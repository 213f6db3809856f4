"""`openai:` against a real HTTP server on this machine, well-behaved and not.

What vLLM's servers add is in test_openai_exact.py, and a real one in test_openai_vllm.py.
"""

import asyncio
import base64
import io
import itertools
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.failures import Failure
from medgym.messages import ImagePart, Message, Reply, TextPart, message, render_call
from medgym.policy import Sampling, load_policy
from medgym.rollout import collect
from medgym.tool import load_tools
from tests.serving.fake_server import (
    BOX,
    CHAT,
    QUESTION,
    Handler,
    Script,
    Server,
    answer,
    ask,
    failing,
    hang,
    models,
)


def test_a_request_says_what_was_said_and_how_to_sample(server: Server, policy: Any) -> None:
    server.scripted(answer("<answer>B</answer>"))
    seen = ImagePart(1, Image.new("RGB", (8, 8), "blue"))
    conversation = (
        *QUESTION,
        Message("assistant", (TextPart("look"),), Reply("look")),
        message("tool", "View 1.", [seen]),
    )
    reply = ask(policy(), conversation, temperature=0.5, top_p=0.9, max_tokens=7, seed=2**62 + 5)
    assert reply.text == "<answer>B</answer>"
    assert (reply.prompt_ids, reply.token_ids, reply.logprobs) == (None, None, None)
    (body,) = server.bodies(CHAT)
    assert (body["model"], body["temperature"], body["top_p"]) == ("base", 0.5, 0.9)
    assert (body["max_tokens"], body["seed"]) == (7, 5)
    assert "bad_words" not in body  # which only vLLM knows
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant", "user"]
    image, text = body["messages"][3]["content"]
    assert text == {"type": "text", "text": "View 1."}
    data = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(data)).tobytes() == seen.image.tobytes()


@pytest.mark.parametrize(
    "fault",
    [failing(500), failing(503), failing(429), failing(408), Handler.break_off, hang],
    ids=["500", "503", "429", "408", "breaks off", "hangs"],
)
def test_a_request_that_fails_is_repeated(
    server: Server, policy: Any, fault: Callable[..., None]
) -> None:
    script: Script = (lambda h, b: h.break_off()) if fault is Handler.break_off else fault
    server.scripted(script, script, answer("<answer>A</answer>"))
    # What does not hang is given time to answer, on however busy a machine.
    player = policy("?timeout=2" if fault is hang else "")
    assert ask(player).text == "<answer>A</answer>"
    # Where time is short for an answer too, it is asked for once more.
    asked = len(server.bodies(CHAT))
    assert asked >= 3 if fault is hang else asked == 3
    assert len({json.dumps(body) for body in server.bodies(CHAT)}) == 1  # the same draw


def test_json_that_is_none_is_repeated(server: Server, policy: Any) -> None:
    def html(handler: Handler, body: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "6")
        handler.end_headers()
        handler.wfile.write(b"<html>")

    server.scripted(html, answer("x"))
    assert ask(policy()).text == "x"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (failing(500), "500: not now (3 attempts)"),
        (hang, "no answer within 0.5 s (3 attempts)"),
        (lambda handler, body: handler.break_off(), "ClientPayloadError"),
        (failing(400), "400: not now"),
        (lambda handler, body: handler.say({"choices": []}), "answers without a reply"),
        (lambda handler, body: handler.say(["?"]), "unexpected reply"),
    ],
)
def test_what_keeps_failing_is_a_failure_of_the_policy(
    server: Server, policy: Any, script: Script, reason: str
) -> None:
    server.scripted(script)
    player = policy("?retries=2")
    if script is hang:
        asyncio.run(player.check())  # which may take its time
        player._endpoint._timeout = 0.5
    with pytest.raises(Failure) as caught:
        ask(player)
    assert caught.value.boundary == "policy"
    assert reason in caught.value.reason
    assert server.url in caught.value.reason
    assert "\n" not in caught.value.reason


def test_a_server_that_ends_in_mid_run_is_a_failure(server: Server, policy: Any) -> None:
    def last(handler: Handler, body: Any) -> None:
        answer("x")(handler, body)
        handler.close_connection = True

    server.scripted(last)
    player = policy("?retries=1")
    ask(player)
    server.shutdown()
    server.server_close()
    with pytest.raises(Failure, match="2 attempts"):
        ask(player)


@pytest.mark.parametrize("value", ["0.3", "date"])
def test_retry_after_is_obeyed(server: Server, policy: Any, value: str) -> None:
    from email.utils import formatdate

    until: list[float] = []

    def later(handler: Handler, body: Any) -> None:
        until.append(float(int(time.time() + 2)) if value == "date" else time.time() + 0.3)
        after = formatdate(until[0], usegmt=True) if value == "date" else value
        failing(429, Retry_After=after)(handler, body)

    server.scripted(later, answer("x"))
    ask(policy())
    assert time.time() > until[0] - 0.05


def test_delays_grow_and_repeat_with_the_seed(
    server: Server, policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        waited.append(seconds)
        await sleep(0)

    monkeypatch.setattr("medgym.agents.openai.http.FIRST_DELAY", 0.5)
    monkeypatch.setattr("medgym.agents.openai.http.asyncio.sleep", note)
    server.scripted(failing(500))
    for seed in (1, 1, 2):
        with pytest.raises(Failure):
            ask(policy("?retries=8"), seed=seed)
    first, again, other = waited[:8], waited[8:16], waited[16:]
    assert first == again != other
    for attempt, delay in enumerate(first):
        assert 0.5 <= delay / min(0.5 * 2**attempt, 30.0) <= 1.0


def test_requests_in_flight_are_bounded(server: Server, policy: Any) -> None:
    together = threading.Barrier(3, timeout=120)

    def slow(handler: Handler, body: Any) -> None:
        together.wait()  # however late one comes
        time.sleep(0.05)
        answer("x")(handler, body)

    server.scripted(slow)
    player = policy("?concurrency=3")

    async def many() -> None:
        await asyncio.gather(*(player.act(QUESTION, Sampling(seed=i)) for i in range(21)))

    asyncio.run(many())
    assert server.most == 3
    assert len(server.bodies(CHAT)) == 21


@pytest.mark.parametrize(("option", "concurrency"), [("?concurrency=4", 64), ("", 4)])
def test_a_rollout_has_the_next_episodes_ready(
    option: str, concurrency: int, server: Server, policy: Any
) -> None:
    """Requests are bounded by the rollout and by the server's option; more episodes are opened."""
    opened: list[int] = []
    four = threading.Barrier(4, timeout=60)

    def together(handler: Handler, body: Any) -> None:
        four.wait()
        answer("<answer>A</answer>")(handler, body)

    server.routes[CHAT] = together
    cases = open_cases("phantom:train[:24]")
    rules = Rules.for_cases(cases, tools=(), view_size=64)
    player = policy(option)
    enter = player.enter
    player.enter = lambda: (opened.append(len(server.bodies(CHAT))), enter())
    assert len(list(collect(cases, player, rules, concurrency=concurrency))) == 24
    assert server.most == 4
    assert sum(asked <= 4 for asked in opened) >= 6, "six are opened when four are asked"


def test_a_run_goes_through_a_bad_endpoint(server: Server, policy: Any) -> None:
    """500, hanging and breaking off by turns: every episode is there in the end, and only once."""
    faults = itertools.cycle([failing(500), hang, lambda h, b: h.break_off(), None])
    asked: set[int] = set()

    def play(handler: Handler, body: Any) -> None:
        looked = any(m["role"] == "assistant" for m in body["messages"])
        said = "<answer>A</answer>" if looked else render_call("zoom", {"view": 0, "box": BOX})
        with server.lock:  # at the first time of asking, so that no request fails for good
            fault = None if body["seed"] in asked else next(faults)
            asked.add(body["seed"])
        (fault or answer(said))(handler, body)

    server.routes[CHAT] = play
    rules = Rules(tools=load_tools(["zoom"]), view_size=64)
    cases = open_cases("phantom:train[:12]")
    played = list(collect(cases, policy("?timeout=2"), rules, group_size=2))
    keys = [(case.id, member) for case in cases for member in range(2)]
    assert sorted((t.case_id, t.member) for t in played) == sorted(keys)
    assert all(t.turns == 2 and t.calls == ("zoom",) and not t.failure for t in played)
    assert len(asked) == 48
    assert len(server.bodies(CHAT)) >= 48 + 36


def test_cancelling_ends_a_request(server: Server, policy: Any) -> None:
    server.scripted(hang)
    player = policy("?concurrency=1")

    async def impatient() -> None:
        asking = asyncio.create_task(player.act(QUESTION, Sampling()))
        while not server.bodies(CHAT):
            await asyncio.sleep(0.02)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(impatient())
    server.scripted(answer("x"))
    # Its place is free again, in another event loop: else this would wait as long as a request may.
    assert ask(player).text == "x"
    assert len(server.bodies(CHAT)) == 2


def test_an_endpoint_that_is_down_is_one_line() -> None:
    down = Server()
    down.server_close()
    policy = load_policy(f"openai:{down.url}#base")
    check = lambda: asyncio.run(policy.check())  # noqa: E731
    for fails in (lambda: ask(policy), check, policy.require_training):
        with pytest.raises(UserError, match=r"nothing answers at http.*; fix: start the server"):
            fails()
    policy.close()


@pytest.mark.parametrize(
    ("routes", "error"),
    [
        ({"/v1/models": failing(401)}, "refuses access.*fix: set MEDGYM_API_KEY"),
        ({"/v1/models": models("vllm", "bass")}, "unknown model .*'base'; did you mean 'bass'"),
        ({"/v1/models": lambda h, b: h.say([])}, "not an OpenAI-compatible server"),
        ({"/v1/models": failing(500)}, "answers 500: not now where its models should be listed"),
        ({"/v1/models": failing(400)}, "answers 400"),
        ({CHAT: failing(403)}, "refuses access"),
        ({CHAT: failing(404)}, "does not serve base"),
    ],
)
def test_what_the_user_has_to_mend_is_one_line(
    server: Server, policy: Any, routes: dict[str, Script], error: str
) -> None:
    server.routes |= routes
    with pytest.raises(UserError, match=error) as caught:
        ask(policy())
    assert "fix: " in str(caught.value) or "did you mean" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("listed", "script", "error"),
    [
        (models("other", "base"), failing(500), ""),  # listed: nothing is asked
        (models("other", "bass"), answer("x"), ""),  # no list is known to be complete
        (models("other", "bass"), failing(400), ""),  # it is there, and wants something else
        (models("other", "bass"), failing(404),
         r"does not serve base \(404: not now\); fix: write one of its models after #: bass$"),
        (models("other", "bass"), failing(403), "refuses access"),
        (models("other", "bass"), failing(500), "answers 500: not now when base is asked"),
        (models("other", *(f"m{n}" for n in range(30)), "basis"), failing(404),
         r"after #: basis, (m\d+, ){8}m\d+ and 21 more$"),
        (failing(404), failing(404), "does not serve base .*; fix: check the URL"),  # without /v1
    ],
)  # fmt: skip
def test_check_finds_a_model_that_is_not_there(
    server: Server, policy: Any, listed: Script, script: Script, error: str
) -> None:
    server.routes |= {"/v1/models": listed, CHAT: script}
    check = policy("?retries=0").check()
    if not error:
        return asyncio.run(check)
    with pytest.raises(UserError, match=error) as caught:
        asyncio.run(check)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    [
        "openai:127.0.0.1:8000/v1#base",
        "openai:http://127.0.0.1:8000/v1",
        "openai:ftp://127.0.0.1/v1#base",
        "openai:http:///v1#base",
        "openai:http://h/v1?concurency=3#base",
        "openai:http://h/v1?concurrency=many#base",
        "openai:http://h/v1?concurrency=0#base",
        "openai:http://h/v1?timeout=0#base",
        "openai:http://h/v1?timeout=nan#base",
        "openai:http://h/v1?retries=-1#base",
        "openai:http://h/v1?retries=1&retries=2#base",
        "openai:http://me:secret@h/v1",
        "openai:ftp://me:secret@h/v1#base",
    ],
)
def test_a_bad_spec_is_one_line_without_the_password(spec: str) -> None:
    with pytest.raises(UserError) as caught:
        load_policy(spec)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_folder_never_takes_the_place_of_a_served_name(
    server: Server, policy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "triage").mkdir()
    (tmp_path / "triage" / "adapter_config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert policy(model="base@triage").version == "triage"
    assert policy(model="base@org/triage").version == "org/triage"
    for folder in ("./none", "/none", "a/b/none"):
        with pytest.raises(UserError, match=r"no adapter in .*none .*; fix: "):
            policy(model=f"base@{folder}")


def test_the_key_is_sent(server: Server, policy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "general")
    monkeypatch.setenv("MEDGYM_API_KEY", "ours")
    server.scripted(answer("x"))
    ask(policy())
    assert {headers.get("Authorization") for _, _, headers in server.asked} == {"Bearer ours"}


def test_a_user_in_the_url_is_sent_and_told_nobody(server: Server, policy: Any) -> None:
    server.scripted(answer("?"), answer("x"), failing(404))
    url = server.url.replace("http://", "http://me:p%40ss:w@")
    player = load_policy(f"openai:{url}#base@triage")
    assert player.spec == f"openai:{server.url}#base@triage"
    ask(player)
    told = {headers["Authorization"] for _, _, headers in server.asked}
    assert told == {"Basic " + base64.b64encode(b"me:p@ss:w").decode()}
    assert {body["model"] for body in server.bodies(CHAT)} == {"triage"}
    with pytest.raises(UserError) as caught:
        ask(player)
    assert "ss:w" not in str(caught.value)
    player.close()


def test_a_name_may_hold_an_at(server: Server, policy: Any) -> None:
    server.scripted(answer("x"))
    for written in ("claude%402024", "@cf/meta/llama"):
        ask(policy(model=written))
    asked = {body["model"] for body in server.bodies(CHAT)}
    assert asked == {"claude@2024", "@cf/meta/llama"}


def test_a_proxy_does_not_stand_before_this_machine(
    server: Server, policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    server.scripted(answer("x"))
    assert ask(policy()).text == "x"


def test_models_that_call_the_limit_otherwise(server: Server, policy: Any) -> None:
    def picky(handler: Handler, body: Any) -> None:
        if "max_tokens" in body:
            handler.say({"error": {"message": "use 'max_completion_tokens' instead"}}, 400)
        else:
            answer("x")(handler, body)

    server.scripted(picky)
    player = policy()
    assert ask(player, max_tokens=9).text == "x"
    assert ask(player, max_tokens=9).text == "x"
    assert [body.get("max_completion_tokens") for body in server.bodies(CHAT)] == [None, 9, 9]


def test_a_reply_that_was_cut_says_so(server: Server, policy: Any) -> None:
    server.scripted(answer("cut", finish_reason="length"))
    assert ask(policy()).cut


def test_a_server_without_token_ids_says_so_when_asked_to_train(
    server: Server, policy: Any
) -> None:
    server.scripted(answer("x"))
    player = policy()
    assert ask(player).text == "x"
    assert (player.kind, player.trains) == ("text", False)
    with pytest.raises(UserError, match="can play, but not train: it returns no"):
        player.require_training()


def test_a_native_tool_form_needs_token_ids(server: Server, policy: Any) -> None:
    """A server that renders by itself would write tools as it likes."""
    server.scripted(answer("x"))
    with pytest.raises(UserError, match=r"tool_form=native needs token ids .*; fix: "):
        asyncio.run(policy("?tool_form=native").check())
    with pytest.raises(UserError, match="tool_form of openai"):
        policy("?tool_form=nativ")
