"""`openai:` against a real HTTP server on this machine, well-behaved and not.

The server speaks just enough of the protocol, and does what its script says: answer, fail, hang,
break off, ask to wait. A vLLM server is imitated where its answers can be told beforehand; the real
one is in test_openai_vllm.py.
"""

import asyncio
import base64
import io
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from medgym.agents.chat import Pictures, chat_messages, plain
from medgym.agents.exact import DriftError
from medgym.agents.openai import OpenAIPolicy
from medgym.agents.rendering import Renderer
from medgym.cases import open_cases
from medgym.env import load_tools
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.failures import Failure
from medgym.messages import ImagePart, Message, Reply, TextPart, message, render_call
from medgym.policy import Sampling, load_policy
from medgym.rollout import collect

Script = Callable[["Handler", Any], None]


class Handler(BaseHTTPRequestHandler):
    """Does what the server's script says, and keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        self.play(None)

    def do_POST(self) -> None:
        self.play(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def play(self, body: Any) -> None:
        with self.server.lock:
            self.server.asked.append((self.path, body, dict(self.headers)))
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        try:
            route = self.server.routes.get(self.path)
            if route is None:
                self.say({"error": {"message": "no such route"}}, 404)
            else:
                route(self, body)
        finally:
            with self.server.lock:
                self.server.now -= 1

    def say(self, value: Any, status: int = 200, **headers: str) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def break_off(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"choices": [')
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.routes: dict[str, Script] = {"/v1/models": models("other")}
        self.asked: list[tuple[str, Any, dict[str, str]]] = []
        self.now = self.most = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def bodies(self, path: str) -> list[Any]:
        return [body for asked, body, _ in self.asked if asked == path]

    def scripted(self, *scripts: Script, path: str = "/v1/chat/completions") -> None:
        """Play the scripts one after the other, the last one from then on."""
        left = list(scripts)

        def play(handler: Handler, body: Any) -> None:
            with self.lock:
                script = left.pop(0) if len(left) > 1 else left[0]
            script(handler, body)

        self.routes[path] = play


CHAT = "/v1/chat/completions"
BOX = [0, 0, 500, 500]
QUESTION = (
    message("system", "Look."),
    message("user", "What?", [ImagePart(0, Image.new("RGB", (32, 32), "red"))]),
)


def models(owner: str, *names: str) -> Script:
    entries = [{"id": name, "owned_by": owner, "root": ""} for name in names or ("base",)]
    return lambda handler, body: handler.say({"object": "list", "data": entries})


def answer(text: str, **more: Any) -> Script:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"} | more
    return lambda handler, body: handler.say({"choices": [choice]})


def failing(status: int, **headers: str) -> Script:
    return lambda handler, body: handler.say({"error": {"message": "not now"}}, status, **headers)


def hang(handler: Handler, body: Any) -> None:
    time.sleep(1.5)
    handler.close_connection = True


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medgym.agents.endpoint.FIRST_DELAY", 0.01)


@pytest.fixture
def policy(server: Server) -> Iterator[Callable[..., Any]]:
    made: list[OpenAIPolicy] = []

    def make(options: str = "", model: str = "base") -> OpenAIPolicy:
        policy = load_policy(f"openai:{server.url}{options}#{model}")
        assert isinstance(policy, OpenAIPolicy)
        made.append(policy)
        return policy

    yield make
    for each in made:
        each.close()


def ask(policy: Any, conversation: tuple[Message, ...] = QUESTION, **sampling: Any) -> Reply:
    reply = asyncio.run(policy.act(conversation, Sampling(**sampling)))
    assert isinstance(reply, Reply)
    return reply


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
    assert ask(policy("?timeout=0.4")).text == "<answer>A</answer>"
    assert len(server.bodies(CHAT)) == 3
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
        (hang, "no answer within 0.2 s (3 attempts)"),
        (lambda handler, body: handler.break_off(), "RemoteProtocolError"),
        (failing(400), "400: not now"),
        (lambda handler, body: handler.say({"choices": []}), "unexpected reply"),
        (lambda handler, body: handler.say(["?"]), "unexpected reply"),
    ],
)
def test_what_keeps_failing_is_a_failure_of_the_policy(
    server: Server, policy: Any, script: Script, reason: str
) -> None:
    server.scripted(script)
    with pytest.raises(Failure) as caught:
        ask(policy("?timeout=0.2&retries=2"))
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

    after = formatdate(time.time() + 2, usegmt=True) if value == "date" else value
    server.scripted(failing(429, Retry_After=after), answer("x"))
    begin = time.monotonic()
    ask(policy())
    assert time.monotonic() - begin > 0.25


def test_delays_grow_and_repeat_with_the_seed(
    server: Server, policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        waited.append(seconds)
        await sleep(0)

    monkeypatch.setattr("medgym.agents.endpoint.FIRST_DELAY", 0.5)
    monkeypatch.setattr("medgym.agents.endpoint.asyncio.sleep", note)
    server.scripted(failing(500))
    for seed in (1, 1, 2):
        with pytest.raises(Failure):
            ask(policy("?retries=8"), seed=seed)
    first, again, other = waited[:8], waited[8:16], waited[16:]
    assert first == again != other
    for attempt, delay in enumerate(first):
        assert 0.5 <= delay / min(0.5 * 2**attempt, 30.0) <= 1.0


def test_requests_in_flight_are_bounded(server: Server, policy: Any) -> None:
    def slow(handler: Handler, body: Any) -> None:
        time.sleep(0.05)
        answer("x")(handler, body)

    server.scripted(slow)
    player = policy("?concurrency=3")

    async def many() -> None:
        await asyncio.gather(*(player.act(QUESTION, Sampling(seed=i)) for i in range(20)))

    asyncio.run(many())
    assert server.most == 3
    assert len(server.bodies(CHAT)) == 20


def test_a_run_goes_through_a_bad_endpoint(server: Server, policy: Any) -> None:
    """500, hanging and breaking off by turns: every episode is there in the end, and only once."""
    faults: list[Script] = [failing(500), hang, lambda h, b: h.break_off()]
    turns = itertools.count()

    def play(handler: Handler, body: Any) -> None:
        turn = next(turns)
        looked = any(m["role"] == "assistant" for m in body["messages"])
        said = "<answer>A</answer>" if looked else render_call("zoom", {"view": 0, "box": BOX})
        (answer(said) if turn % 3 else faults[turn // 3 % 3])(handler, body)

    server.routes[CHAT] = play
    rules = Rules(tools=load_tools(["zoom"]), view_size=64)
    cases = open_cases("phantom:train[:12]")
    played = list(collect(cases, policy("?timeout=0.3"), rules, group_size=2))
    keys = [(case.id, member) for case in cases for member in range(2)]
    assert sorted((t.case_id, t.member) for t in played) == sorted(keys)
    assert all(t.turns == 2 and t.calls == ("zoom",) and not t.failure for t in played)


def test_cancelling_ends_a_request(server: Server, policy: Any) -> None:
    server.scripted(hang)
    player = policy("?concurrency=1")

    async def impatient() -> None:
        player_check = asyncio.create_task(player.act(QUESTION, Sampling()))
        await asyncio.sleep(0.2)
        player_check.cancel()
        with pytest.raises(asyncio.CancelledError):
            await player_check

    asyncio.run(impatient())
    server.scripted(answer("x"))
    begin = time.monotonic()
    assert ask(player).text == "x"  # its place is free again, in another event loop
    assert time.monotonic() - begin < 1


def test_an_endpoint_that_is_down_is_one_line() -> None:
    down = Server()
    down.server_close()
    policy = load_policy(f"openai:{down.url}#base")
    for fails in (lambda: ask(policy), policy.check, policy.require_training):  # type: ignore[attr-defined]
        with pytest.raises(UserError, match=r"nothing answers at http.*; mend: start the server"):
            fails()
    policy.close()


@pytest.mark.parametrize(
    ("routes", "error"),
    [
        ({"/v1/models": failing(401)}, "refuses us.*mend: set MEDGYM_API_KEY"),
        ({"/v1/models": models("vllm", "bass")}, "unknown model .*'base'; did you mean 'bass'"),
        ({"/v1/models": lambda h, b: h.say([])}, "no OpenAI-compatible server"),
        ({"/v1/models": failing(500)}, "nothing answers at"),
        ({"/v1/models": failing(400)}, "answers 400"),
        ({CHAT: failing(403)}, "refuses us"),
        ({CHAT: failing(404)}, "does not serve base"),
    ],
)
def test_what_the_user_has_to_mend_is_one_line(
    server: Server, policy: Any, routes: dict[str, Script], error: str
) -> None:
    server.routes |= routes
    with pytest.raises(UserError, match=error) as caught:
        ask(policy())
    assert "mend: " in str(caught.value) or "did you mean" in str(caught.value)
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
    ],
)
def test_a_bad_spec_is_one_line(spec: str) -> None:
    with pytest.raises(UserError) as caught:
        load_policy(spec)
    assert "\n" not in str(caught.value)


def test_the_key_is_sent(server: Server, policy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "general")
    monkeypatch.setenv("MEDGYM_API_KEY", "ours")
    server.scripted(answer("x"))
    ask(policy())
    assert {headers.get("Authorization") for _, _, headers in server.asked} == {"Bearer ours"}


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


def test_a_thought_that_the_server_took_out_is_put_back(server: Server, policy: Any) -> None:
    said = {"content": "<answer>A</answer>", "reasoning": "hm"}
    server.scripted(answer("", message=said), answer("cut", finish_reason="length"))
    player = policy()
    assert ask(player).text == "<think>hm</think><answer>A</answer>"
    assert ask(player).cut


def test_a_server_without_token_ids_says_so_when_asked_to_train(
    server: Server, policy: Any
) -> None:
    server.scripted(answer("x"))
    player = policy()
    assert ask(player).text == "x"
    assert (player.kind, player.trains) == ("text", False)
    with pytest.raises(UserError, match="can be evaluated, but not trained with: it returns no"):
        player.require_training()


class FakeVLLM:
    """Answers as a vLLM server does, from a real processor; `lose` makes it lose images."""

    def __init__(self, server: Server, folder: Path, renderer: Renderer) -> None:
        self.renderer = renderer
        self.answer = list(renderer.encode_reply("<answer>A</answer>"))
        self.raw = self.lose = self.chat_only = False
        entry = {"id": "base", "owned_by": "vllm", "root": str(folder), "parent": None}
        server.routes["/v1/models"] = lambda h, b: h.say({"data": [entry]})
        server.routes["/tokenize"] = self.tokenize
        server.routes["/inference/v1/generate"] = self.generate
        server.routes[CHAT] = self.chat

    def tokenize(self, handler: Handler, body: Any) -> None:
        handler.say({"tokens": self.renderer.tokenizer(body["prompt"])["input_ids"]})

    def choice(self, ids: list[int]) -> dict[str, Any]:
        logprob = -9.0 if self.raw else 0.0
        return {
            "token_ids": ids,
            "finish_reason": "stop",
            "logprobs": {"content": [{"token_id": i, "logprob": logprob} for i in ids]},
            "message": {"content": self.renderer.decode_reply(ids)},
        }

    def generate(self, handler: Handler, body: Any) -> None:
        if self.chat_only:
            return handler.say({"detail": "Not Found"}, 404)
        params, images = body["sampling_params"], body.get("content_parts", [])
        read = []
        for token in body["token_ids"]:
            shown = images and not self.lose and token == self.renderer.image_token_id
            read += [token] * (4 if shown else 1)
        ids = params.get("allowed_token_ids") or self.answer
        handler.say({"prompt_token_ids": read, "choices": [self.choice(ids)]})

    def chat(self, handler: Handler, body: Any) -> None:
        if "allowed_token_ids" in body:
            return handler.say({"prompt_token_ids": [1], "choices": [self.choice([1])]})
        said = [
            message(
                m["role"],
                m["content"] if isinstance(m["content"], str) else m["content"][-1]["text"],
                [] if isinstance(m["content"], str) else [QUESTION[1].images[0]],
            )
            for m in body["messages"]
        ]
        ids = self.renderer.prompt(said).ids
        read = ids[1:] if self.lose else ids
        handler.say({"prompt_token_ids": read, "choices": [self.choice(self.answer)]})


@pytest.fixture
def vllm(server: Server, tiny_folder: Path, tiny_processor: Any) -> FakeVLLM:
    return FakeVLLM(server, tiny_folder, Renderer(tiny_processor))


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
    player.check()
    assert player.kind == "text"
    with pytest.raises(UserError, match="--logprobs-mode processed_logprobs"):
        player.require_training()


def test_a_server_whose_processor_is_elsewhere(
    server: Server, vllm: FakeVLLM, policy: Any, tiny_folder: Path, tmp_path: Path
) -> None:
    entry = {"id": "base", "owned_by": "vllm", "root": str(tmp_path / "far")}
    server.routes["/v1/models"] = lambda h, b: h.say({"data": [entry]})
    player = policy()
    assert ask(player).text == "<answer>A</answer>"
    with pytest.raises(UserError, match=r"no processor.*; mend: add \?processor=FOLDER"):
        player.require_training()
    policy(f"?processor={tiny_folder}").require_training()
    with pytest.raises(UserError, match="no processor in"):
        policy(f"?processor={tmp_path}").check()


def test_pictures_are_encoded_once_and_forgotten_in_order() -> None:
    parts = [ImagePart(i, Image.new("RGB", (64, 64), (i, 0, 0))) for i in range(3)]
    pictures = Pictures()
    assert pictures.uri(parts[0]) is pictures.uri(ImagePart(9, parts[0].image.copy()))
    small = Pictures(most=sum(len(pictures.uri(part)) for part in parts) - 1)
    first, second = small.uri(parts[0]), small.uri(parts[1])
    assert small.uri(parts[0]) is first
    small.uri(parts[2])
    assert small.uri(parts[0]) is first
    assert small.uri(parts[1]) is not second


def test_what_spells_a_token_is_taken_apart() -> None:
    said = "a <|image_pad|> <|im_end|> <image> [IMG] <answer>x</answer> <|not one"
    told = plain(said)
    assert told == "a < |image_pad|> < |im_end|> < image> [ IMG] <answer>x</answer> <|not one"
    body = chat_messages((message("user", said),), Pictures(), "tool")
    assert body == [{"role": "user", "content": told}]
