"""A second run asks nothing again; whatever a reply depends on, it is asked for again."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from medgym.agents.openai.function_calls import CalledReply
from medgym.agents.scripted.policy import Scripted
from medgym.cli import main
from medgym.errors import UserError
from medgym.evals.replay import store as replies
from medgym.evals.replay.key import identity_of, key_of
from medgym.evals.replay.reply import decoded, encoded, kind_of
from medgym.evals.replay.store import FILE, ReplyStore
from medgym.messages import ImagePart, Malformed, Reply, Usage, message
from medgym.policy import Sampling, load_policy
from medgym.storage.results import read_results
from tests.serving.fake_server import CHAT, Server, running

Capture = pytest.CaptureFixture[str]
CASES = "phantom,look=ct,size=256,question=kind:test[:4]"
ASKED = ["eval", CASES, "--policy", "scripted:random", "--temperature", "1"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A number for each reply that a scripted policy really gave."""
    count: list[int] = []
    act = Scripted.act

    async def counted(self: Scripted, conversation: Any, sampling: Any) -> Reply:
        count.append(1)
        return await act(self, conversation, sampling)

    monkeypatch.setattr(Scripted, "act", counted)
    return count


def figures(folder: Path) -> Any:
    found = read_results(folder)
    counts = found.pop("cache")
    del found["seconds"]
    return counts, json.dumps(found)


@pytest.mark.usefixtures("no_progress")
def test_a_second_run_makes_no_call_and_comes_to_the_same(
    tmp_path: Path, asked: list[int], capsys: Capture
) -> None:
    words = [*ASKED, "--cache", str(tmp_path / "cache"), "--out"]
    assert main([*words, str(tmp_path / "a")]) == 0
    assert f"replies: 0 from the cache, {len(asked)} from the policy\n" in capsys.readouterr().out
    first = len(asked)
    assert main([*words, str(tmp_path / "b")]) == 0
    assert len(asked) == first
    (one, digits), (other, same) = figures(tmp_path / "a"), figures(tmp_path / "b")
    assert digits == same
    assert one == {"hits": 0, "calls": first, "damaged": 0, "not_kept": 0}
    assert other == {"hits": first, "calls": 0, "damaged": 0, "not_kept": 0}
    tables = [(tmp_path / name / "outcomes.parquet").read_bytes() for name in "ab"]
    assert tables[0] == tables[1]


@pytest.mark.usefixtures("no_progress")
@pytest.mark.parametrize("team", [False, True])
def test_where_all_replies_are_kept_the_server_need_not_run(
    tmp_path: Path, capsys: Capture, team: bool
) -> None:
    choice = {"message": {"content": "<answer>A</answer>"}, "finish_reason": "stop"}
    more = ["--cache", str(tmp_path), "--json"]
    with running() as server:
        server.routes[CHAT] = lambda handler, body: handler.say({"choices": [choice]})
        policy = f"{'majority:2:' * team}openai:{server.url}?retries=0#base"
        words = ["eval", CASES, "--policy", policy, *more]
        assert main([*words, "--limit", "2"]) == 0
        before = json.loads(capsys.readouterr().out)
    assert main([*words, "--limit", "2"]) == 0
    after = json.loads(capsys.readouterr().out)
    assert (before["cache"]["calls"], after["cache"]["calls"]) == (2 * (1 + team), 0)
    (one, other) = (next(iter(each["policies"].values()))["greedy"] for each in (before, after))
    del one["roles"], other["roles"]  # they have the seconds that the votes took
    assert one == other
    assert main(words) == 2, "one case more has no reply yet"
    said = capsys.readouterr().err.splitlines()
    assert re.match(r"medgym: nothing answers at http://\S+ ", said[-1])


@pytest.mark.usefixtures("no_progress")
def test_a_server_that_gives_replies_of_another_kind_is_refused(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {"kind": "sampled", "vision_token_ids": [1]}
    monkeypatch.setattr(ReplyStore, "found", lambda *a: before)
    with running() as server:
        words = ["eval", CASES, "--policy", f"openai:{server.url}#base", "--cache", str(tmp_path)]
        assert main(words) == 2
        assert server.bodies(CHAT) == []
    assert "gives replies of another kind than those in" in capsys.readouterr().err


@pytest.mark.usefixtures("no_progress")
@pytest.mark.parametrize(
    "change",
    [
        ("--prompt", "Look twice, please."),
        ("--seed", "1"),
        ("--temperature", "0.5"),
        ("--max-tokens", "100"),
        ("--view-size", "32"),
        ("--tools", "zoom,crop"),
        ("--policy", "scripted:prior"),
    ],
)
def test_what_differs_is_asked_again(
    tmp_path: Path, asked: list[int], change: tuple[str, str]
) -> None:
    words = [*ASKED, "--limit", "1", "--cache", str(tmp_path)]
    assert main(words) == 0
    del asked[:]
    assert main([*words, *change]) == 0
    assert asked


def test_another_version_of_a_tool_an_adapter_or_a_model_is_another_policy(tmp_path: Path) -> None:
    policy = load_policy("scripted:random")
    known = identity_of(policy, {"zoom": "medgym 1"})
    assert identity_of(policy, {"zoom": "medgym 2"}) != known
    policy.version = "adapter-2"
    assert identity_of(policy, {"zoom": "medgym 1"}) != known
    policy.spec = f"hf:{tmp_path}"
    (tmp_path / "model.safetensors").write_bytes(b"1")
    known = identity_of(policy, {})
    assert identity_of(policy, {}) == known
    (tmp_path / "model.safetensors").write_bytes(b"12")
    assert identity_of(policy, {}) != known


@pytest.mark.parametrize(
    "other", [{"grey": 91}, {"text": "which?"}, {"case": "b"}, {"seed": 2}, {"identity": "other"}]
)
def test_other_pixels_words_cases_seeds_and_policies_are_other_requests(
    other: dict[str, Any],
) -> None:
    def key(
        grey: int = 90, text: str = "what?", case: str = "a", seed: int = 1, identity: str = "one"
    ) -> str:
        seen = ImagePart(0, Image.new("L", (8, 8), grey).convert("RGB"))
        said = [message("user", text, [seen])]
        return key_of(identity, case, said, Sampling(seed=seed))

    assert key() == key()
    assert key(**other) != key()


def test_another_revision_of_a_model_of_the_hub_is_another_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "models--org--model" / "refs").mkdir(parents=True)
    (tmp_path / "own").mkdir()
    policy = load_policy("scripted:random")
    for spec, file in (("org/model", "models--org--model/refs/main"), ("~/own", "own/weights")):
        policy.spec = f"hf:{spec}"
        known = identity_of(policy, {})
        (tmp_path / file).write_text("0123")
        assert identity_of(policy, {}) != known


@pytest.mark.usefixtures("no_progress")
def test_a_failure_is_never_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medgym.rollout.collection.RETRIES", 0)
    words = [*ASKED, "--cache", str(tmp_path), "--json", "--fail-above", "1"]
    with monkeypatch.context() as patch:

        async def broken(self: Scripted, conversation: Any, sampling: Any) -> Reply:
            raise OSError("the line is cut")

        patch.setattr(Scripted, "act", broken)
        assert main(words) == 1
    assert len(kept(tmp_path)) == 0
    assert main(words) == 0


@pytest.mark.usefixtures("no_progress")
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE replies SET reply = substr(reply, 1, length(reply) - 1)",
        "UPDATE replies SET reply = (SELECT reply FROM replies ORDER BY key LIMIT 1)",
        "UPDATE replies SET kind = 'builtins:dict'",
        "UPDATE replies SET hash = NULL",
    ],
)
def test_a_damaged_entry_is_counted_and_asked_for_again(
    tmp_path: Path, capsys: Capture, damage: str
) -> None:
    words = [*ASKED, "--cache", str(tmp_path)]
    assert main(words) == 0
    table = capsys.readouterr().out.rpartition("replies: ")[0]
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute(damage)
    assert main(words) == 0
    same, _, counts = capsys.readouterr().out.rpartition("replies: ")
    assert same == table
    assert "entries were damaged" in counts


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.write_bytes(b"no database" * 99), "cannot be used (DatabaseError"),
        (lambda file: _newer(file), "is the cache of another medgym; fix: name another folder"),
    ],
)
def test_a_file_that_is_no_cache_of_ours_is_one_line_before_anything_is_played(
    tmp_path: Path, capsys: Capture, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(tmp_path / FILE)
    words = [*ASKED, "--cache", str(tmp_path), "--out", str(tmp_path / "run")]
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_file_that_was_begun_and_not_finished_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        begun = replies._TABLES.partition("CREATE")[0]
        patch.setattr(replies, "_TABLES", f"{begun} none;")
        with pytest.raises(UserError):
            ReplyStore(tmp_path)
    assert ReplyStore(tmp_path).counts().calls == 0


def _newer(file: Path) -> None:
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version = 99")


def test_secrets_are_in_no_cache(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-of-mine")
    url = f"openai:{server.url}?extra=%7B%22api_key%22%3A%22very-secret-2%22%7D#base"
    words = ["eval", CASES, "--policy", url, "--cache", str(tmp_path), "--max-turns", "1"]
    choice = {"message": {"content": "sk-very-secret-of-mine"}, "finish_reason": "stop"}
    server.routes[CHAT] = lambda handler, _: handler.say({"choices": [choice]})
    assert main(words) == 0
    assert "replies: 0 from the cache, 4 from the policy\n" in capsys.readouterr().out
    store = ReplyStore(tmp_path)
    store.put("x", Reply("the key is sk-very-secret-of-mine"))  # of a policy that hides nothing
    assert store.counts().not_kept == 1
    assert len(kept(tmp_path)) == 4
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"secret" not in written


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.mark.usefixtures("no_progress")
def test_every_role_of_a_team_is_answered_from_the_cache(tmp_path: Path, capsys: Capture) -> None:
    recipe = tmp_path / "c.toml"
    recipe.write_text(
        '[consultation]\nopinions = 1\n[roles.triage]\npolicy = "scripted:oracle"\n'
        '[roles.specialist]\npolicy = "scripted:random"\n'
        '[roles.attending]\npolicy = "scripted:vote"\n'
    )
    for team in (f"consultation:{recipe}", "majority:2:scripted:oracle"):
        words = ["eval", CASES, "--policy", team, "--limit", "2", "--cache", str(tmp_path / "c")]
        tables, counts = [], []
        for _ in range(2):
            assert main(words) == 0
            table, _, said = capsys.readouterr().out.rpartition("replies: ")
            tables.append(table.partition("\n\n")[0])
            counts.append(re.findall("[0-9]+", said))
        assert tables[0] == tables[1]
        assert counts[0][0] == counts[1][1] == "0"
        assert counts[0][1] == counts[1][0] != "0"


def test_a_reply_comes_back_as_it_was(tmp_path: Path) -> None:
    whole = CalledReply(
        "é <answer>A</answer>", prompt_ids=(1, 2), token_ids=(3,), logprobs=(-0.1 / 3,),
        image_tokens=(1,), cut=True, malformed=Malformed("json", "no"), usage=Usage(5, 6),
        said="x", ids=("a", "b"),
    )  # fmt: skip
    store, other = ReplyStore(tmp_path), ReplyStore(tmp_path)  # two processes
    for key, reply in (("a", whole), ("b", Reply("")), ("c", replace(whole, logprobs=None))):
        store.put(key, reply)
        found = other.get(key)
        assert found == reply
        assert type(found) is type(reply)
        assert decoded(kind_of(type(reply)), encoded(reply)) == reply
    for key, reply in (("d", Reply("\ud800")), ("e", replace(whole, logprobs=(-inf,)))):
        store.put(key, reply)
        assert other.get(key) is None
        # What follows on it has a key nevertheless.
        assert key_of("", "", [replace(message("assistant", ""), reply=reply)], Sampling())
    assert store.counts().as_dict() == {"hits": 0, "calls": 5, "damaged": 0, "not_kept": 2}
    assert other.counts().hits == 3


def kept(folder: Path) -> list[Any]:
    with sqlite3.connect(folder / FILE) as database:
        return database.execute("SELECT key FROM replies").fetchall()
