"""What a recipe may not do by itself, and the ways in which a user permits it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from medgym import permissions
from medgym.cli import main
from medgym.errors import UserError
from medgym.permissions import allow_hosts, allowed_hosts, allowed_reports, key_for
from medgym.policy import load_policy
from tests.serving.fake_server import CHAT, Server, answer, ask, failing, running

KEY = "pl4nted-of-the-user"


@pytest.fixture(autouse=True)
def of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A key, no permission, and no proxy between this machine and itself."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("MEDGYM_API_KEY", raising=False)
    monkeypatch.delenv("MEDGYM_ALLOW_HOSTS", raising=False)
    allow_hosts(())
    permissions._warned.clear()
    yield
    allow_hosts(())


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        server.scripted(answer("<answer>A</answer>"))
        yield server


def sent(server: Server) -> set[str | None]:
    return {headers.get("Authorization") for _, _, headers in server.asked}


@pytest.mark.parametrize(
    ("by_recipe", "allowed", "key"),
    [(False, [], f"Bearer {KEY}"), (True, [], None), (True, ["127.0.0.1"], f"Bearer {KEY}")],
)
def test_a_recipe_s_server_on_this_machine_gets_no_key_unless_it_is_permitted(
    by_recipe: bool, allowed: list[str], key: str | None, server: Server
) -> None:
    allow_hosts(allowed)
    policy = load_policy(f"openai:{server.url}#base", by_recipe=by_recipe)
    ask(policy)
    assert sent(server) == {key}
    server.routes["/v1/models"] = failing(401)
    policy._capabilities = None  # type: ignore[attr-defined]
    fix = "add --allow-host 127.0.0.1, if" if key is None else "set MEDGYM_API_KEY"
    with pytest.raises(UserError, match=f"refuses access .*; fix: {fix}"):
        asyncio.run(policy.check())
    policy.close()


def consultation(folder: Path, policy: str) -> str:
    roles = "\n".join(
        f'[roles.{role}]\npolicy = "{policy if role == "attending" else "scripted:oracle"}"'
        for role in ("triage", "specialist", "attending")
    )
    (folder / "mine.toml").write_text(f'[consultation]\nspecialties = ["radiologist"]\n{roles}\n')
    return f"consultation:{folder / 'mine.toml'}"


@pytest.mark.parametrize("wrapped", ["", "majority:3:"])
def test_a_recipe_s_server_elsewhere_is_refused_before_anything_is_sent(
    wrapped: str, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.url.replace("127.0.0.1", "0.0.0.0")  # this machine, by a name that does not say so
    cases = "phantom,question=diagnosis:test[:1]"
    policy = consultation(tmp_path, f"{wrapped}openai:{url}#base")
    words = ["eval", cases, "--policy", policy, "--out", str(tmp_path / "run")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "the recipe names a policy at 0.0.0.0, which would get your images and your key" in said
    assert "fix: add --allow-host 0.0.0.0 if you trust it" in said
    assert said.count("\n") == 1
    assert server.asked == []
    assert not (tmp_path / "run").exists()
    if not wrapped:
        assert main([*words, "--allow-host", "0.0.0.0"]) == 0
        assert sent(server) == {f"Bearer {KEY}"}
        assert f"warning: the key goes in clear to {url}" in capsys.readouterr().err


def test_the_user_s_own_server_gets_the_key_with_a_warning_where_it_is_readable(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.url.replace("127.0.0.1", "0.0.0.0")
    for _ in range(2):
        policy = load_policy(f"openai:{url}#base")
        asyncio.run(policy.check())
        policy.close()
    assert sent(server) == {f"Bearer {KEY}"}
    assert capsys.readouterr().err.count("goes in clear to") == 1
    load_policy(f"openai:{server.url}#base").close()
    load_policy("openai:https://gpu-1.example/v1#base").close()
    assert capsys.readouterr().err == ""


def test_a_redirection_takes_the_key_nowhere(server: Server) -> None:
    with running() as other:

        def elsewhere(handler: object, body: object) -> None:
            handler.say({}, 307, Location=f"{other.url}/chat/completions")  # type: ignore[attr-defined]

        server.routes |= {"/v1/models": elsewhere, CHAT: elsewhere}
        policy = load_policy(f"openai:{server.url}?retries=0#base")
        with pytest.raises(UserError, match="answers 307"):
            asyncio.run(policy.check())
        policy.close()
        assert other.asked == []


def test_a_host_is_permitted_in_four_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_hosts(["Option.example"])
    monkeypatch.setenv("MEDGYM_ALLOW_HOSTS", "variable.example, [fd00::1]")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://base.example/v1")
    own = tmp_path / "config" / "medgym" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text('allow_hosts = ["own.example"]\nallow_reports = ["wandb"]\n')
    named = {"option.example", "variable.example", "fd00::1", "base.example", "own.example"}
    assert allowed_hosts() == named
    assert allowed_reports() == {"wandb"}
    with permissions.by_recipe():
        assert key_for("https://own.example:8000/v1") == KEY
        with pytest.raises(UserError, match="--allow-host other"):
            key_for("https://other/v1")
    own.write_text('allow_host = ["own.example"]\n')
    with pytest.raises(UserError, match=r"config\.toml.*did you mean 'allow_hosts'"):
        allowed_hosts()


@pytest.mark.parametrize("host", ["", "http://h/v1", "h:80", "user@h", "h/v1"])
def test_a_host_is_no_url(host: str) -> None:
    with pytest.raises(UserError, match="is no host; fix: "):
        allow_hosts([host])


def test_a_base_url_that_is_none_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://me:pl4nted@[::1")
    with pytest.raises(UserError, match=r"^OPENAI_BASE_URL is no URL; fix: "):
        allowed_hosts()
