"""An HTTP server on this machine that does what its script says, and one that plays vLLM.

It speaks just enough of the OpenAI protocol: answers, fails, hangs, breaks off, asks to wait. What
vLLM answers is computed by a real processor.
"""

import asyncio
import base64
import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image

from medgym.agents.image_tokens import count_features
from medgym.agents.rendering import Renderer
from medgym.messages import ImagePart, Message, Reply, message
from medgym.policy import Sampling

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

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked may be killed while it asks or reads: that is no fault of the server's."""
        if not isinstance(sys.exception(), ConnectionError | json.JSONDecodeError):
            super().handle_error(request, client_address)

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


@contextmanager
def running() -> Iterator[Server]:
    """A server that runs in a thread."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


CHAT = "/v1/chat/completions"
BOX = [0, 0, 500, 500]
QUESTION = (
    message("system", "Look."),
    message("user", "What?", [ImagePart(0, Image.new("RGB", (32, 32), "red"))]),
)


def ask(policy: Any, conversation: tuple[Message, ...] = QUESTION, **sampling: Any) -> Reply:
    reply = asyncio.run(policy.act(conversation, Sampling(**sampling)))
    assert isinstance(reply, Reply)
    return reply


def models(owner: str, *names: str) -> Script:
    entries = [{"id": name, "owned_by": owner, "root": ""} for name in names or ("base",)]
    return lambda handler, body: handler.say({"object": "list", "data": entries})


def answer(text: str, **more: Any) -> Script:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"} | more
    return lambda handler, body: handler.say({"choices": [choice]})


def failing(status: int, **headers: str) -> Script:
    return lambda handler, body: handler.say({"error": {"message": "not now"}}, status, **headers)


def hang(handler: Handler, body: Any) -> None:
    """Never answers; it ends when whoever asked has gone."""
    with suppress(OSError):
        handler.connection.recv(1)
    handler.close_connection = True


def shown(uri: str) -> Image.Image:
    """The image of a data URI."""
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


class FakeVLLM:
    """Answers as a vLLM server does, from a real processor.

    Attributes:
        answers: the token ids that each model says, by its name.
        entries: the models that it lists.
        raw: its log-probabilities are of the raw scores. lose: it loses images. chat_only: it takes
            no token ids. mute: its chat template is missing.
    """

    def __init__(self, server: Server, folder: Path, renderer: Renderer) -> None:
        self.renderer = renderer
        self.answers = {"base": list(renderer.encode_reply("<answer>A</answer>"))}
        self.raw = self.lose = self.chat_only = self.mute = False
        self.entries = {"base": {"id": "base", "owned_by": "vllm", "root": str(folder)}}
        server.routes |= {
            "/v1/models": lambda h, b: h.say({"data": list(self.entries.values())}),
            "/v1/load_lora_adapter": self.load,
            "/tokenize": self.tokenize,
            "/inference/v1/generate": self.generate,
            CHAT: self.chat,
        }

    def load(self, handler: Handler, body: Any) -> None:
        name, path = body["lora_name"], body["lora_path"]
        entry = {"id": name, "owned_by": "vllm", "root": path, "parent": "base"}
        self.entries[name] = entry
        handler.say("loaded")

    def tokenize(self, handler: Handler, body: Any) -> None:
        tokens = self.renderer.tokenizer(body["prompt"], add_special_tokens=False)["input_ids"]
        handler.say({"tokens": tokens})

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
        params = body["sampling_params"]
        images = [shown(part["url"]) for part in body.get("content_parts", [])]
        counts = iter(count_features(self.renderer.processor, images))
        read = []
        for token in body["token_ids"]:
            is_image = not self.lose and token == self.renderer.image_token_id
            read += [token] * (next(counts) if is_image else 1)
        ids = params.get("allowed_token_ids") or self.answers[body["model"]]
        handler.say({"prompt_token_ids": read, "choices": [self.choice(ids)]})

    def chat(self, handler: Handler, body: Any) -> None:
        if self.mute:
            return handler.say({"error": {"message": "no chat template is defined"}}, 400)
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
        answer = self.answers[body["model"]]
        handler.say({"prompt_token_ids": read, "choices": [self.choice(answer)]})
