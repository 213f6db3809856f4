"""Trajectories as chat messages, and what they know of their cases."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.policy import load_policy
from medgym.rollout import collect
from medgym.storage.run_folder import RunFolder, content
from medgym.trajectory import ImageUse, Node, Trajectory


def test_a_trajectory_knows_its_question_and_becomes_chat_messages(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", {"command": "test"})
    cases = open_cases("phantom:train[:2]")
    rules = Rules.for_cases(cases)
    (played, _) = collect(cases, load_policy("scripted:oracle"), rules, out=run, ordered=True)
    case = cases[0]
    assert (played.question, played.options, played.gold) == (
        case.question, case.options, case.answer,
    )  # fmt: skip
    messages = played.messages(run.images.get)
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert messages[0]["content"] == [{"type": "text", "text": rules.instructions}]
    assert messages[1]["content"][-1]["text"].startswith("View 0: image 0")
    shown = [p["image"] for m in messages for p in m["content"] if p["type"] == "image"]
    row = run.chat(played)
    assert shown == row["images"]
    assert all(m["role"] == "user" for m in messages if m["content"][0]["type"] == "image")
    assert sum(p == {"type": "image"} for m in row["messages"] for p in m["content"]) == len(shown)
    assert len(shown) == 2


def test_messages_end_with_the_last_reply_and_need_no_system() -> None:
    image = ImageUse("ab", 0)
    nodes = (
        Node(-1, "user", "s\n\nq", images=(image,)),
        Node(0, "assistant", "r"),
        Node(1, "tool", "unread", images=(ImageUse("cd", 1),)),
    )
    old = Trajectory("a/b/0", "p", 0, 0, "text", nodes)
    assert [m["role"] for m in old.messages()] == ["user", "assistant"]
    assert old.image_hashes == ("ab",)
    new = replace(old, system="s")
    assert [m["content"][-1]["text"] for m in new.messages()] == ["s", "q", "r"]
    assert content([old]) == content([replace(new, question="q", options=("a",), gold="a")])


def test_trl_takes_the_messages() -> None:
    trl = pytest.importorskip("trl.data_utils")
    image = Image.new("RGB", (4, 4))
    nodes = (
        Node(-1, "user", "s\n\nq", images=(ImageUse("ab", 0),)),
        Node(0, "assistant", "call"),
        Node(1, "tool", "shown", images=(ImageUse("cd", 1),)),
        Node(2, "assistant", "A"),
    )
    played = Trajectory("a/b/0", "p", 0, 0, "text", nodes, system="s")
    filled = trl.prepare_multimodal_messages(played.messages(), images=[image, image])
    kinds = [part["type"] for message in filled for part in message["content"]]
    assert kinds == ["text", "image", "text", "text", "image", "text", "text"]
