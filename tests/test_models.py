"""Models by name: what is built in, what is a folder, and a hub that does not answer."""

import importlib.metadata
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from medgym.errors import UserError
from medgym.models import FoundModel, find_model, load_model
from medgym.registry import names


@pytest.fixture
def hub() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture
def swallowing(hub: socket.socket, monkeypatch: pytest.MonkeyPatch) -> str:
    """A hub that takes connections and never says a word."""
    address = f"http://127.0.0.1:{hub.getsockname()[1]}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    return address


def test_a_folder_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_model(str(tmp_path)) == FoundModel(str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    assert find_model(f"~/{tmp_path.name}") == FoundModel(str(tmp_path))


def test_a_path_that_is_no_folder_is_refused_without_asking_the_hub(
    tmp_path: Path, swallowing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "file").write_text("")
    for name in ("./no", "~/no", "/no/such", "a/b/c", "runs/no", "no/", "file", "two words", ""):
        with pytest.raises(UserError, match=r"^no such model folder: .*; fix: "):
            find_model(name)


def test_a_hub_that_does_not_answer_is_one_line_after_one_attempt_of_three_seconds(
    hub: socket.socket, swallowing: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_model("nobody/no-such-model")
    hub.accept()[0].close()
    with pytest.raises(BlockingIOError):  # nobody else has asked
        hub.accept()
    said = str(caught.value)
    assert "\n" not in said
    assert f"the hub {swallowing} cannot be reached: no answer within 3 s" in said
    assert "; fix: name a folder or a hub model" in said
    for name in names("models"):
        assert name in said


def test_a_hub_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(UserError, match=r"cannot be reached: .*refused.*; fix: "):
        find_model("some/model")


def test_a_model_in_the_cache_needs_no_hub(
    swallowing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "models--some--model").mkdir()
    found = find_model("some/model")
    assert found.path == "some/model"
    assert "no answer within 3 s" in found.offline


def test_a_hub_is_not_asked_where_that_is_forbidden(
    swallowing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r"HF_HUB_OFFLINE is set.*; fix: "):
        load_model("nobody/no-such-model")


@pytest.mark.parametrize("status", [200, 401, 404, 502])
def test_a_hub_that_answers_is_used_unless_it_is_broken(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import http.server
    import threading

    class Answering(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    asked: list[str] = []
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.delenv("HF_HUB_OFFLINE")
        if status == 502:
            with pytest.raises(UserError, match=r"it answers 502\); fix: "):
                find_model("some/model")
        else:
            assert find_model("some/model") == FoundModel("some/model")
        server.shutdown()
    assert asked == ["/api/models/some/model"]


def test_a_built_in_model_is_known_wherever_a_model_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medgym.policy import load_policy
    from medgym.train.doctor.subject import subject_of
    from medgym.train.models.checkpoint import load_model as for_training

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert load_policy("hf:looker").spec == "hf:looker"
    found = find_model("looker")
    assert Path(found.path).parent == tmp_path / "cache" / "medgym"
    assert find_model("looker") == found
    model, _ = for_training("looker")
    asked = "phantom,look=radiograph,question=kind:test[:1]"
    for named in ("looker", "hf:looker"):
        assert type(subject_of(named, asked).model) is type(model)


def test_a_folder_and_a_built_in_model_of_one_name_are_not_mixed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "looker").mkdir()
    with pytest.raises(UserError, match=r"looker is a built-in model, .*; fix: write \./looker"):
        find_model("looker")
    assert find_model("./looker").path == "./looker"


def test_the_tiny_bases_are_built_in() -> None:
    from medgym.train.tiny.built import BUILT

    points = {p.name: p for p in importlib.metadata.entry_points(group="medgym.models")}
    assert set(BUILT) <= set(points)
    for name in BUILT:
        assert callable(points[name].load())


def test_the_version_of_an_adapter_is_recorded_whoever_loads_it(
    tiny_folder: Path, tmp_path: Path
) -> None:
    from medgym.local_model import load_local_model
    from medgym.policy import load_policy
    from medgym.storage.adapters import publish
    from tests.agents.hf.test_loading import adapter_of

    folder = adapter_of(load_model(str(tiny_folder)).model, tmp_path / "made")
    version = publish(folder, tmp_path, "policy", 7)
    assert load_model(str(tiny_folder), str(version.path)).version == "policy-7"
    assert load_local_model(str(tiny_folder), str(version.path)).version == "policy-7"
    assert load_policy(f"hf:{tiny_folder}@{version.path}").version == "policy-7"


def test_what_the_models_module_imports_is_light() -> None:
    import subprocess
    import sys

    heavy = ["torch", "transformers", "peft"]
    code = f"import sys, medgym.models; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
