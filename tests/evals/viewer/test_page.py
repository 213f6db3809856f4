"""The page of `medgym view`: what is on it, and that a real browser shows it."""

import html
import json
import math
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image
from tokenizers import Tokenizer, decoders, models

from medgym.cases import Case, Mask, Region, open_cases, write_cases
from medgym.cli import main
from medgym.consultation.opinions import triage_case
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.evals.commands.view import write_page
from medgym.evals.viewer.data import PageData, opened_first
from medgym.evals.viewer.tokens import Pieces
from medgym.failures import Failure
from medgym.imaging.study import ImageRef, open_image
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout import collect
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import TrajectoryStore
from medgym.tool import load_tools
from medgym.trajectory import Node, Trajectory

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
CASES = "phantom,look=fundus,question=diagnosis:test[:3]"
LOOK = render_call("zoom", {"view": 0, "box": [0, 0, 250, 250]})


class Says(Policy):
    """Looks once, then says the same in every episode."""

    spec = "says"

    def __init__(self, said: str) -> None:
        self._said = said

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        return Reply(LOOK if len(conversation) == 2 else self._said)


class Broken(Says):
    """Its machinery fails for good."""

    spec = "broken"

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        raise Failure("policy", "the endpoint is down", final=True)


def a_run(path: Path, policy: Policy, cases: str = CASES, **options: Any) -> RunFolder:
    folder = RunFolder.create(path, {"command": "rollout", "policy": policy.spec, "cases": cases})
    rules = Rules(tools=load_tools(["zoom"]), view_size=64)
    for _ in collect(open_cases(cases), policy, rules, out=folder, **options):
        pass
    folder.finish()
    return folder


def shown(folder: RunFolder, store: str = "trajectories") -> Any:
    """What the page is given of a store."""
    names = list(write_page(folder)["stores"])
    text = (folder.path / "view" / f"episodes-{names.index(store)}.js").read_text("utf-8")
    found = re.fullmatch(r'loaded\("([^"]+)", (.*)\);\n', text)
    assert found is not None
    assert found[1] == store
    return json.loads(found[2])


def test_members_of_a_group_stand_side_by_side_with_their_cases_gold(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "a", load_policy("scripted:random"), group_size=4, seed=1)
    told = shown(folder)
    cases = list(open_cases(CASES))
    assert sorted(group["case"] for group in told["groups"]) == sorted(case.id for case in cases)
    kept = {(t.case_id, t.member): t for t in folder.trajectories}
    for group in told["groups"]:
        assert [episode["member"] for episode in group["episodes"]] == [0, 1, 2, 3]
        for episode in group["episodes"]:
            played = kept[group["case"], episode["member"]]
            assert (episode["answer"], episode["reward"]) == (played.answer, played.reward)
            (part,) = episode["parts"]
            assert part["role"] == "policy"
            said = [told["texts"][turn["text"]] for turn in part["turns"]]
            assert said == [node.text for node in played.nodes]
            assert [look["box"] for look in part["looks"]] == [list(k.box_px) for k in played.looks]
            for turn in part["turns"]:
                for _, sha256 in turn["images"]:
                    assert (folder.path / "images" / sha256[:2] / f"{sha256}.png").is_file()
    assert len(set(told["texts"])) == len(told["texts"]), "what is said again stands there once"
    for case in cases:
        gold = told["cases"][case.id]
        assert (gold["answer"], gold["sizes"]) == (case.answer, [[512, 512]])
        assert [region["box"] for region in gold["regions"]] == [
            list(r.box_px) for r in case.regions
        ]
        assert sum(gold["regions"][0]["runs"]) == 512 * 512


def test_what_a_policy_writes_without_end_is_not_stored(tmp_path: Path) -> None:
    endless = Says("x" * 50_000_000)
    folder = a_run(tmp_path / "a", endless, CASES.replace(":3", ":1"))
    write_page(folder)
    assert sum(f.stat().st_size for f in folder.path.rglob("*") if f.is_file()) < 3_000_000
    for trajectory in folder.trajectories:
        assert trajectory.malformed == 5
        assert trajectory.faults == ("length",) * 5
        assert trajectory.nodes[-1].text.endswith("[cut: the reply has 50000000 characters]")


def test_a_consultation_shows_its_parts_and_what_failed(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        '[consultation]\nspecialties = ["ophthalmologist"]\nopinions = 2\n'
        '[roles.triage]\npolicy = "scripted:oracle"\n'
        '[roles.specialist]\npolicy = "scripted:specialist,specialty={specialty}"\n'
        '[roles.attending]\npolicy = "scripted:oracle"\n'
    )
    policy: Any = load_policy(f"consultation:{tmp_path / 'c.toml'}")
    spec = "scripted:specialist,specialty=ophthalmologist"
    policy.policies.add(spec, Broken(""))
    told = shown(a_run(tmp_path / "a", policy))
    assert len(told["groups"]) == 3
    for group in told["groups"]:
        (episode,) = group["episodes"]
        assert (episode["correct"], episode["failure"]) == (True, None)
        roles = [part["role"] for part in episode["parts"]]
        assert roles == ["triage", *["specialist:ophthalmologist"] * 2, "attending"]
        for part in episode["parts"][1:3]:
            assert part["failure"] == "policy: the endpoint is down"
            assert (part["turns"], part["reward"]) == ([], None)
        assert all(part["seconds"] >= 0 for part in episode["parts"])


def test_sampled_tokens_come_with_their_probability(tmp_path: Path, tiny_folder: Path) -> None:
    policy = load_policy(f"hf:{tiny_folder}")
    folder = a_run(tmp_path / "a", policy, sampling=Sampling(max_tokens=6))
    policy.close()
    told = shown(folder)
    kept = {t.case_id: t for t in folder.trajectories}
    whole = 0
    for group in told["groups"]:
        turns = group["episodes"][0]["parts"][0]["turns"]
        for turn, node in zip(turns, kept[group["case"]].nodes, strict=True):
            if node.role != "assistant":
                assert "pieces" not in turn
                continue
            text = "".join(text for text, _ in turn["pieces"])
            assert text.removesuffix("<|im_end|>") == node.text
            if len(turn["pieces"]) == len(node.token_ids):
                whole += 1
                for (_, shown_p), logprob in zip(turn["pieces"], node.logprobs, strict=True):
                    assert shown_p == pytest.approx(math.exp(logprob), abs=6e-4)
    assert whole > 0


def test_tokens_that_spell_one_character_are_one_piece(tiny_folder: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(tiny_folder)("aé漢b")["input_ids"]
    assert len(ids) == 7, "bytes"
    node = Node(0, "assistant", "aé漢b", tuple(ids), (1,) * 7, (math.log(0.5),) * 7)
    found = Pieces(tmp_path).of(f"hf:{tiny_folder}", node)
    assert found == [("a", 0.5), ("é", 0.25), ("漢", 0.125), ("b", 0.5)]
    cut = replace(node, token_ids=tuple(ids[:5]), logprobs=(0.0,) * 5)
    assert [text for text, _ in Pieces(tmp_path).of(f"hf:{tiny_folder}", cut)][:2] == ["a", "é"]
    assert len(Pieces(tmp_path).of(f"hf:{tiny_folder}", cut)) == 3
    assert Pieces(tmp_path).of("openai:http://h/v1#m", node) == []
    (tmp_path / "cold_start").symlink_to(tiny_folder)
    for spec in ("", "hf:/no/longer/here/cold_start@/no/longer/here/adapters/policy/1"):
        assert Pieces(tmp_path).of(spec, node) == found, "a run's own base, wherever it lies"
    assert Pieces(tmp_path).of("hf:/no/such/model", node) == []
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "tokenizer.json").write_text("{")
    assert Pieces(tmp_path).of(f"hf:{tmp_path / 'broken'}", node) == []


def test_words_keep_their_spaces_whatever_the_tokenizer(tmp_path: Path) -> None:
    """Llama's tokenizers write a space as the beginning of a word, and drop a text's first one."""
    words = {"▁the": 0, "▁lesion": 1, "▁is": 2, "▁dark": 3, ".": 4, "<unk>": 5}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    node = Node(0, "assistant", "", (0, 1, 2, 3, 4), (1,) * 5, (0.0,) * 5)
    pieces = Pieces(tmp_path).of(f"hf:{tmp_path}", node)
    assert [text for text, _ in pieces] == ["the", " lesion", " is", " dark", "."]


def test_all_stores_of_a_run_are_shown_and_images_that_were_not_kept_are_named_so(
    tmp_path: Path,
) -> None:
    folder = a_run(tmp_path / "a", Says(render_answer("A")))
    judged = [replace(t, policy="judged") for t in folder.trajectories]
    TrajectoryStore(folder.path / "judged" / "single").write(judged)
    shutil.rmtree(folder.path / "images")
    told = shown(folder, "judged/single")
    turns = told["groups"][0]["episodes"][0]["parts"][0]["turns"]
    assert [turn["images"] for turn in turns] == [[[0, None]], [], [[1, None]], []]
    assert list(write_page(folder)["stores"]) == ["judged/single", "trajectories"]


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (["judged/cold_start", "judged/grpo", "judged/oracle", "trajectories/grpo"], "judged/grpo"),
        (["judged/attending", "judged/attending_before"], "judged/attending"),
        (["trajectories/demonstrations", "trajectories/grpo"], "trajectories/grpo"),
        (["judged/kind", "judged/side"], "judged/kind"),
        (["trajectories"], "trajectories"),
        (["pairs.jsonl", "trajectories"], "pairs.jsonl"),
    ],
)
def test_the_page_opens_at_the_trained_policy(names: list[str], first: str) -> None:
    assert opened_first(names) == first


def test_a_run_inside_a_run_has_its_own_images(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "a", Says(render_answer("A")))
    a_run(folder.path / "opinions" / "one", Says(render_answer("B")), "phantom,look=ct:test[:1]")
    told = shown(folder, "opinions/one/trajectories")
    (_, sha256), *_ = told["groups"][0]["episodes"][0]["parts"][0]["turns"][0]["images"]
    page = folder.path / "view"
    assert (page / told["images"] / sha256[:2] / f"{sha256}.png").is_file()
    assert shown(folder)["images"] == "../images"


@pytest.mark.parametrize("lost", ["cases", "images", "recipe"])
def test_what_has_gone_is_left_out(tmp_path: Path, lost: str) -> None:
    """The page shows what was played, wherever its cases and their files are by now."""
    case = open_cases(CASES)[0]
    image = tmp_path / "image.png"
    Image.fromarray(open_image(case.images[0]).pixels).save(image)
    ref = case.images[0].model_copy(update={"uri": f"file:{image}"})
    lone = case.model_copy(update={"images": (ref,), "regions": ()})  # no mask tells its size
    write_cases([lone], tmp_path / "c.jsonl")
    folder = a_run(tmp_path / "a", Says(render_answer("A")), str(tmp_path / "c.jsonl"))
    if lost == "recipe":
        (folder.path / "recipe.toml").write_text("no toml")
    else:
        (tmp_path / ("c.jsonl" if lost == "cases" else "image.png")).unlink()
    gold = shown(folder)["cases"][case.id]
    if lost == "images":
        assert (gold["answer"], gold["sizes"]) == (case.answer, [])
    else:
        assert gold is None


def test_a_case_that_changed_since_is_not_shown_as_the_one_that_was_played(tmp_path: Path) -> None:
    case = open_cases(CASES)[0]
    write_cases([case], tmp_path / "c.jsonl")
    folder = a_run(tmp_path / "a", Says(render_answer("A")), str(tmp_path / "c.jsonl"))
    assert shown(folder)["cases"][case.id]["answer"] == case.answer
    other = next(option for option in case.options if option != case.answer)
    write_cases([case.model_copy(update={"answer": other})], tmp_path / "c.jsonl")
    assert shown(folder)["cases"][case.id] is None


def facts(folder: RunFolder) -> dict[str, str]:
    return dict(PageData(folder).facts())


def test_the_head_says_what_was_followed_and_what_could_not_be_played(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "a", Says(render_answer("A")))
    assert facts(folder).items() >= {"policy": "says", "cases": CASES, "status": "done"}.items()
    assert "failed" not in facts(folder)
    folder.note(failed={"a#0": "policy: gone", "b#1": "policy: gone"})
    assert facts(folder)["failed"] == "2"
    # `train --seed 3` and `ablate`: the manifest has the recipe as it was followed.
    recipe = {"name": "small", "seed": 3, "cases": {"train": CASES, "test": CASES, "order": None}}
    folder = RunFolder.create(tmp_path / "b", "seed = 0\n", recipe=recipe)
    played = collect(open_cases(CASES), load_policy("scripted:prior"), Rules(view_size=64))
    TrajectoryStore(folder.path / "judged" / "single").write(list(played))
    told = facts(folder)
    assert (told["recipe"], told["seed"]) == ("small", "3")
    assert (told["cases, train"], told["cases, test"]) == (CASES, CASES)
    assert all(shown(folder, "judged/single")["cases"].values())


@pytest.mark.parametrize("damage", ["cut", "other bytes", "of another kind"])
def test_a_part_that_cannot_be_read_is_named(tmp_path: Path, damage: str) -> None:
    folder = a_run(tmp_path / "a", Says(render_answer("A")))
    (part,) = folder.trajectories.parts()
    whole = part.read_bytes()
    if damage == "of another kind":
        pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), part)
    else:
        part.write_bytes(whole[:-20] if damage == "cut" else whole[:200] + b"?" * 200 + whole[400:])
    with pytest.raises(UserError, match=r"part-00000.parquet cannot be read as trajectories"):
        write_page(folder)


def test_parts_that_lie_in_the_runs_own_folder_are_shown(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "a", Says(render_answer("A")))
    (part,) = folder.trajectories.parts()
    part.rename(folder.path / part.name)
    assert len(shown(folder, ".")["groups"]) == 3


def test_nothing_to_show_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(tmp_path)]) == 2
    assert "is no run folder" in capsys.readouterr().err
    RunFolder.create(tmp_path / "a", {}).finish()
    assert main(["view", str(tmp_path / "a")]) == 2
    assert "there are no trajectories in" in capsys.readouterr().err


def test_the_page_is_not_written_through_a_link(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = a_run(tmp_path / "run", Says(render_answer("A")))
    mine = tmp_path / "mine"
    mine.mkdir()
    (folder.path / "view").symlink_to(mine)
    assert main(["view", str(folder.path)]) == 2
    assert "run/view is a link, and medgym does not write through links" in capsys.readouterr().err
    assert not list(mine.iterdir())


def test_a_folder_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "a", Says(render_answer("A")))
    (folder.path / "view").write_text("in the way")
    with pytest.raises(UserError, match="cannot write to"):
        write_page(folder)


# In a browser.

EVIL = '</script><script>document.title="owned"</script><img src=x onerror="document.title=1">'


FRAMES = """<!doctype html><html><body>{frames}<script>
setTimeout(() => {{ document.body.dataset.found = JSON.stringify(
  [...document.querySelectorAll("iframe")].map((frame) => {{
    const page = frame.contentDocument;
    return [page.documentElement.outerHTML, page.body.dataset.found ?? null];
  }})); }}, {after});
</script></body></html>"""
"""Pages side by side, so that one browser opens them all."""


class Opened(NamedTuple):
    """A page in a browser, as text, and what the last script found in it."""

    page: str
    found: Any


def opened(
    folder: RunFolder,
    tmp_path: Path,
    *asked: tuple[str, Sequence[str]],
    size: tuple[int, int] = (1400, 900),
) -> list[Opened]:
    """What a browser makes of the page at some addresses, each in a frame of its own.

    Args:
        asked: an address (what follows `index.html`), and scripts to run in the page there, each a
            second after the one before. size: of the frames.
    """
    assert BROWSER is not None
    place = folder.path / "view"
    page = (place / "index.html").read_text("utf-8")
    frames = []
    for number, (address, scripts) in enumerate(asked):
        later = "".join(
            f"setTimeout(() => {{ document.body.dataset.found = JSON.stringify({script}); }},"
            f" {1000 * (order + 1)});"
            for order, script in enumerate(scripts)
        )
        name = f"test-{number}.html" if scripts else "index.html"
        if scripts:
            (place / name).write_text(f"{page}<script>{later}</script>", "utf-8")
        source = html.escape(f"{name}{address}")
        frames.append(f'<iframe src="{source}" width={size[0]} height={size[1]}></iframe>')
    after = 1000 * (2 + max(len(scripts) for _, scripts in asked))
    (place / "frames.html").write_text(FRAMES.format(frames="".join(frames), after=after), "utf-8")
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--allow-file-access-from-files", "--dump-dom",
            f"--user-data-dir={tmp_path / 'browser'}",
            "--window-size=1400,900", "--virtual-time-budget=20000",
            (place / "frames.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = re.search(r'data-found="([^"]*)"', done.stdout)
    assert told is not None, done.stdout[-2000:]
    seen = json.loads(html.unescape(told[1]))
    for (_, scripts), (_, said) in zip(asked, seen, strict=True):
        assert said is not None or not scripts
    return [Opened(text, None if said is None else json.loads(said)) for text, said in seen]


def doms(folder: RunFolder, tmp_path: Path, *addresses: str) -> list[str]:
    """What a browser makes of the page at some addresses: its elements, as text."""
    return [each.page for each in opened(folder, tmp_path, *((at, ()) for at in addresses))]


browser = pytest.mark.skipif(BROWSER is None, reason="there is no browser")


def words(page: str) -> str:
    return html.unescape(
        re.sub(r"<[^>]+>", " ", page.partition("</header>")[2].partition("<script>")[0])
    )


@browser
def test_a_browser_shows_groups_filters_and_boxes(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "a", load_policy("scripted:random"), group_size=4, seed=1)
    write_page(folder)
    kept: list[Trajectory] = list(folder.trajectories)
    page, *filtered, none = doms(
        folder, tmp_path, "", "#show=mixed", "#show=wrong", "#find=no-such-case"
    )
    count = re.search(r'<output id="count">([^<]*)</output>', page)
    assert count is not None
    right = sum(t.correct for t in kept)
    assert count[1] == f"3 groups, 12 episodes, {right} right"
    assert page.count('<span class="dot ') == 12
    assert page.count("<article") == 4
    first = next(iter({t.case_id: t for t in kept}))
    looks = sum(len(t.looks) for t in kept if t.case_id == first)
    assert len(re.findall(r'<rect[^>]*class="(?:right|wrong)"', page)) == looks
    assert page.count('class="gold"') == 1
    assert "<canvas" in page
    pictures = re.findall(r'<img[^>]*src="([^"]+)"', page)
    assert len(pictures) > 4
    assert all((folder.path / "view" / source).is_file() for source in pictures)

    groups = {t.case_id: {u.correct for u in kept if u.case_id == t.case_id} for t in kept}
    assert {True, False} in groups.values()
    for page, wanted in zip(filtered, ({True, False}, {False}), strict=True):
        same = [case for case, outcomes in groups.items() if outcomes == wanted]
        assert page.count("<a ") == len(same)
    assert "No group matches." in words(none)


@browser
def test_what_a_policy_writes_is_shown_and_does_nothing(tmp_path: Path) -> None:
    policy = Says(EVIL)
    policy.spec = "<i>says</i>"
    folder = a_run(tmp_path / "evil", policy)
    TrajectoryStore(folder.path / "z<" / "script>").write(list(folder.trajectories))
    assert list(write_page(folder)["stores"]) == ["trajectories", "z</script>"]
    page, other = doms(folder, tmp_path, "", "#store=z</script>")
    assert "<title>evil</title>" in page
    assert EVIL in words(page.replace("&lt;", "\x01")).replace("\x01", "<")
    assert "<dd>&lt;i&gt;says&lt;/i&gt;</dd>" in page
    assert "3 groups" in other


@browser
def test_images_keep_their_shape_and_boxes_and_masks_lie_where_they_are(tmp_path: Path) -> None:
    """Two images, one wide and one high; the mask of the first one's finding is an L."""
    files = {"wide.png": (900, 300), "high.png": (300, 900)}
    for name, size in files.items():
        Image.new("L", size, 90).save(tmp_path / name)
    inside = np.zeros((300, 900), bool)
    inside[30:60, 600:690] = inside[60:150, 600:630] = True
    case = Case(
        id="own/test/1",
        images=tuple(ImageRef(uri=f"file:{tmp_path / name}") for name in files),
        question="Where?",
        answer="here",
        options=("here", "there"),
        regions=(
            Region(label="finding", box_px=(600, 30, 690, 150), mask=Mask.of(inside)),
            Region(label="other", box_px=(30, 600, 60, 870), image=1),
        ),
        group="1",
        source="own",
        split="test",
    )
    write_cases([case], tmp_path / "c.jsonl")
    folder = a_run(tmp_path / "a", Says(render_answer("A")), str(tmp_path / "c.jsonl"))
    write_page(folder)
    script = """[...document.querySelectorAll(".scene")].map((scene) => {
          const at = scene.getBoundingClientRect(), canvas = scene.querySelector("canvas");
          const inside = (rect) => { const box = rect.getBoundingClientRect();
            return [box.left - at.left, box.top - at.top, box.right - at.left, box.bottom - at.top]
              .map((value, i) => value / (i % 2 ? at.height : at.width)); };
          const covers = (x, y) => canvas.getContext("2d")
            .getImageData(x * canvas.width, y * canvas.height, 1, 1).data[3] > 0;
          return { size: [at.width, at.height], gold: inside(scene.querySelector("rect.gold")),
            mask: canvas && [[645, 45], [615, 120], [660, 120], [585, 45], [45, 615]]
              .map(([x, y]) => covers(x / 900, y / 300)) };
        })"""
    ((_, scenes),) = opened(folder, tmp_path, ("", [script]))
    for scene, (width, height), region in zip(scenes, files.values(), case.regions, strict=True):
        assert scene["size"][0] / scene["size"][1] == pytest.approx(width / height, rel=0.02)
        box = [v / side for v, side in zip(region.box_px, (width, height) * 2, strict=True)]
        assert scene["gold"] == pytest.approx(box, abs=0.02)
    assert scenes[0]["mask"] == [True, True, False, False, False]
    assert scenes[1]["mask"] is None


@browser
def test_stores_and_groups_are_chosen_by_hand(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "a", load_policy("scripted:random"), group_size=2)
    TrajectoryStore(folder.path / "judged").write(list(folder.trajectories)[:1])
    write_page(folder)
    count = 'document.getElementById("count").textContent'
    choose = """(() => { const field = document.getElementById("store");
      field.value = "trajectories"; field.dispatchEvent(new Event("change")); })()"""
    # Another choice while the first store is on its way: what is shown is what was chosen last.
    quickly = f"[location.hash = '#store=trajectories', {count}]"
    down = "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowDown'}))"
    here = "document.querySelector('nav a.here').textContent"
    names = [group["case"] for group in shown(folder)["groups"]]
    first, chosen, changed, told = opened(
        folder, tmp_path, ("", [count]), ("", [choose, count]), ("", [quickly, count]),
        ("#store=trajectories", [down, down, here]),
    )  # fmt: skip
    assert first.found.startswith("1 groups, 1 episodes")
    assert chosen.found.startswith("3 groups, 6 episodes")
    assert changed.found.startswith("3 groups, 6 episodes")
    assert told.found == names[2]
    (folder.path / "view" / "episodes-1.js").unlink()
    (page,) = doms(folder, tmp_path, "#store=trajectories")
    (group,) = re.findall(r'id="group".*', page, re.DOTALL)
    assert "episodes-1.js is not in the folder of this page" in group


@browser
def test_a_phone_shows_one_column(tmp_path: Path) -> None:
    """A frame of 390 px: nothing is wider than it, and the episode comes below the list."""
    folder = a_run(tmp_path / "a", load_policy("scripted:random"), group_size=4, seed=1)
    write_page(folder)
    script = """(() => {
      const place = (name) => document.querySelector(name).getBoundingClientRect();
      return { wide: document.documentElement.scrollWidth, list: place("nav").bottom,
        main: place("main").top, episode: place(".episode").width,
        header: place("header").height };
    })()"""
    ((_, told),) = opened(folder, tmp_path, ("", [script]), size=(390, 844))
    assert told["wide"] <= 390
    assert told["list"] <= told["main"]
    assert told["episode"] > 320
    assert told["header"] < 300


@browser
def test_a_consultation_is_a_row_of_parts_and_triage_has_its_own_question(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        '[consultation]\nspecialties = ["ophthalmologist", "surgeon"]\nopinions = 2\n'
        '[roles.triage]\npolicy = "scripted:oracle"\n'
        '[roles.specialist]\npolicy = "scripted:prior"\n'
        '[roles.attending]\npolicy = "scripted:oracle"\n'
    )
    team: Any = load_policy(f"consultation:{tmp_path / 'c.toml'}")
    folder = a_run(tmp_path / "a", team)
    asked = [triage_case(case, ("ophthalmologist", "surgeon")) for case in open_cases(CASES)]
    rules = Rules(max_turns=1, view_size=64)
    choices = list(collect(asked, load_policy("scripted:oracle"), rules))
    TrajectoryStore(folder.path / "triage").write(choices)
    broken = [replace(t, failure="worker: gone", reward=None, correct=False) for t in choices]
    TrajectoryStore(folder.path / "worse").write([*broken[:1], *choices[1:]])
    write_page(folder)
    parts = """[...document.querySelectorAll(".part")].map((part) => [
      part.querySelector(".note").textContent.split(" ")[0], part.getBoundingClientRect().left])"""
    words_of = """document.querySelector(".words").textContent"""
    played, asking, about, *filtered = opened(
        folder, tmp_path, ("#store=trajectories", [parts]), ("#store=trajectories", [words_of]),
        ("#store=triage", [words_of]),
        *((f"#store=worse&show={name}", ())
          for name in ("all", "right", "wrong", "mixed", "failed", "__proto__")),
    )  # fmt: skip
    told = played.found
    role = "specialist:ophthalmologist"
    assert [name for name, _ in told] == ["triage", role, role, "attending"]
    assert [left for _, left in told] == sorted({left for _, left in told}), "side by side"

    gold = open_cases(CASES)[0].question
    assert "another" not in asking.found
    assert "Which specialist should see this case?" in about.found
    assert "A. ophthalmologist" in about.found
    assert f'gold of the case\'s own question, "{gold}"' in about.found

    shows = [each.page.count("<a ") for each in filtered]
    assert shows == [3, 2, 0, 0, 1, 3]
