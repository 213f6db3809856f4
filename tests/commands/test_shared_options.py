"""Asked wrongly, every command that plays says one line, exits with 2, and leaves its folder alone.

The folder holds a run of another recipe already, or does not exist: afterwards it is what it was.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from medgym.cli import main
from medgym.commands.shared_options import share
from medgym.errors import UserError
from medgym.policy import Policy, load_policy
from medgym.rollout.request import ready
from tests.serving.fake_server import Server, answer, failing, models, running

Capture = pytest.CaptureFixture[str]
Made = tuple[str, str]
"""A policy's spec, and what the one line says of it."""

COMMANDS = ("rollout", "eval", "play")
CASES = "phantom:train[:2]"


def words(command: str, policy: str, out: Path) -> list[str]:
    return [command, CASES, "--policy", policy, "--out", str(out)]


def content(folder: Path) -> dict[str, str]:
    """Every file of a folder by its hash; nothing where there is no folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that is done."""
    folder = tmp_path_factory.mktemp("runs") / "kept"
    assert main(words("rollout", "scripted:prior", folder)) == 0
    return folder


def lora(folder: Path, width: int) -> Path:
    """An adapter for a first layer of so many features."""
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "target_modules": []}')
    layer = "base_model.model.model.language_model.layers.0.self_attn.q_proj"
    weights = {f"{layer}.lora_A.weight": np.zeros((2, width), np.float32)}
    save_file(weights, folder / "adapter_model.safetensors")
    return folder


def an_endpoint_that_is_down(tmp_path: Path, tiny_folder: Path) -> Made:
    down = Server()
    down.server_close()
    return f"openai:{down.url}#base", "nothing answers at http"


def a_model_without_a_chat_template(tmp_path: Path, tiny_folder: Path) -> Made:
    shutil.copytree(tiny_folder, tmp_path / "mute", ignore=shutil.ignore_patterns("*.jinja"))
    return f"hf:{tmp_path / 'mute'}", "has no chat template"


def an_adapter_for_another_base(tmp_path: Path, tiny_folder: Path) -> Made:
    return f"hf:{tiny_folder}@{lora(tmp_path / 'lora', 7)}", "does not fit"


def a_folder_of_another_recipe(tmp_path: Path, tiny_folder: Path) -> Made:
    return "scripted:random", ""


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "make",
    [
        an_endpoint_that_is_down,
        a_model_without_a_chat_template,
        an_adapter_for_another_base,
        a_folder_of_another_recipe,
    ],
)
def test_bad_input_is_one_line_and_nothing_is_touched(
    command: str,
    make: Callable[[Path, Path], Made],
    kept: Path,
    tiny_folder: Path,
    tmp_path: Path,
    capsys: Capture,
) -> None:
    policy, reason = make(tmp_path, tiny_folder)
    before = content(kept)
    assert main(words(command, policy, kept)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("medgym: ")
    assert said.err.count("\n") == 1
    assert "; fix: " in said.err
    assert (reason or str(kept)) in said.err
    assert content(kept) == before != {}
    if reason:
        new = tmp_path / "runs" / "new"
        assert main(words(command, policy, new)) == 2
        assert reason in capsys.readouterr().err
        assert not new.parent.exists()


def test_a_run_of_another_recipe_is_named_as_such(kept: Path, capsys: Capture) -> None:
    assert main(words("rollout", "scripted:random", kept)) == 2
    assert "holds a run of another recipe; fix: choose another name" in capsys.readouterr().err


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("medgym.agents.openai.http.FIRST_DELAY", 0.01)
    monkeypatch.setattr("medgym.rollout.collection.BACK_OFF", 0.01)
    with running() as server:
        yield server


def test_a_run_waits_untouched_for_its_endpoint_to_come_back(
    server: Server, tmp_path: Path, capsys: Capture
) -> None:
    out, policy = tmp_path / "run", f"openai:{server.url}?retries=0#base"
    server.scripted(answer("<answer>A</answer>"), failing(500))
    assert main(words("rollout", policy, out)) == 1  # one case was played, one could not be
    before = content(out)
    server.routes["/v1/models"] = failing(500)
    assert main(words("rollout", policy, out)) == 2
    assert content(out) == before
    server.routes["/v1/models"] = models("other")
    server.scripted(answer("<answer>A</answer>"))
    assert main(words("rollout", policy, out)) == 0
    assert "trajectories  2" in capsys.readouterr().out


def test_a_password_reaches_the_server_and_no_file(server: Server, tmp_path: Path) -> None:
    server.scripted(answer("<answer>A</answer>"))
    policy = f"openai:{server.url.replace('//', '//me:secret@')}#base"
    for command in COMMANDS:
        assert main(words(command, policy, tmp_path / command)) == 0
    assert len({headers.get("Authorization", "") for _, _, headers in server.asked}) == 1
    assert "" not in {headers.get("Authorization", "") for _, _, headers in server.asked}
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"secret" not in file.read_bytes()


def test_a_policy_that_is_not_ready_is_closed() -> None:
    class Down(type(load_policy("human"))):  # type: ignore[misc]
        closed = False

        async def check(self) -> None:
            raise UserError("down; fix: start it")

        def close(self) -> None:
            self.closed = True

    policy: Policy = Down()
    with pytest.raises(UserError, match="down"):
        ready(policy)
    assert policy.closed  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("written", "value"),
    [("5%", 0.05), ("5 %", 0.05), ("0.05", 0.05), ("0", 0), ("1", 1), ("100%", 1), ("0.5%", 0.005)],
)
def test_a_share_is_a_fraction_or_per_cent(written: str, value: float) -> None:
    assert share()(written) == pytest.approx(value)


@pytest.mark.parametrize("written", ["5", "-1", "-5%", "nan", "nan%", "inf", "105%", "%", "x", ""])
def test_what_is_no_share_is_refused(written: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"no share from 0 to 1; write one such as 5% or"):
        share()(written)
    with pytest.raises(typer.BadParameter, match=r"from 0\.1 to 0\.5"):
        share(0.1, 0.5)("60%")


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["eval", CASES, "--policy", "scripted:prior"], "--fail-above"),
        (["robustness", CASES, "--policy", "scripted:prior"], "--fail-above"),
        (["pivot", "runs/none", "--policy", "scripted:prior"], "--fail-above"),
        (["train", "audit"], "--floor"),
        (["index", "calibrate", "none"], "--alpha"),
        (["index", "calibrate", "none"], "--delta"),
    ],
)
def test_every_command_reads_a_share_alike(
    command: list[str], option: str, capsys: Capture
) -> None:
    assert main([*command, option, "20"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"'{option}': '20' is no share" in line
    assert "write one such as 20% or 0.2; fix: see medgym" in line


def test_a_share_in_per_cent_is_taken(capsys: Capture) -> None:
    words = ["eval", CASES, "--policy", "scripted:prior", "--json"]
    assert main([*words, "--fail-above", "5%"]) == 0
    assert capsys.readouterr().err == ""
