"""`retrieve`: it finds, and its guard lets no leak through that was planted for it."""

import json
import pickle
import threading
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medgym import load
from medgym.cases import Case, open_cases, write_cases
from medgym.episode import Rules
from medgym.errors import ToolError, UserError
from medgym.imaging.slabs import Slab
from medgym.imaging.study import ImageRef, open_image
from medgym.leaks.fingerprint import COMPARED, SAMPLES, _spread, pixel_hash
from medgym.tool import Tool, ToolResult, load_tools
from medgym.workspace import Workspace
from tests.imaging.slides.conftest import levels_of, write_tiff
from tests.tools.retrieve.planted import built

Retrieve = load("tools", "retrieve")


def call(tool: Tool, workspace: Workspace, query: str, k: int = 5) -> ToolResult:
    return tool(tool.parse({"query": query, "k": k}), workspace)


def workspace_of(case: Case) -> Workspace:
    studies = [open_image(ref) for ref in case.images]
    sizes = studies[0].view_sizes
    return Workspace(
        studies,
        view_size=sizes[0] if sizes else 64,
        names=(case.id, case.group, *(ref.uri for ref in case.images)),
    )


def picture(path: Path, seed: int) -> str:
    """A small picture on disk; its URI."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return f"file:{path}"


def case(key: str, uri: str, **fields: Any) -> Case:
    defaults: dict[str, Any] = {
        "id": f"ward/train/{key}",
        "images": (ImageRef(uri=uri),),
        "question": "Is there a nodule in the lung?",
        "answer": f"answer of {key}",
        "group": key,
        "source": "ward",
        "split": "train",
    }
    return Case(**(defaults | fields))


@pytest.fixture
def played(tmp_path: Path) -> Case:
    """The case that is being played."""
    return case("played", picture(tmp_path / "played.png", 0))


def corpus(tmp_path: Path, *cases: Case) -> Tool:
    """A tool over these cases and one that is harmless."""
    harmless = case("harmless", picture(tmp_path / "harmless.png", 99))
    write_cases([*cases, harmless], tmp_path / "corpus.jsonl")
    tool: Tool = Retrieve(corpus=str(tmp_path / "corpus.jsonl"))
    return tool


def leaks(played: Case, tmp_path: Path) -> dict[str, Case]:
    """One planted leak of each kind."""
    own = played.images[0].uri
    copied = f"file:{tmp_path / 'copy.bmp.png'}"
    Image.open(tmp_path / "played.png").save(tmp_path / "copy.bmp.png", compress_level=0)
    fresh = picture(tmp_path / "fresh.png", 1)
    return {
        "the case itself": case("leak", fresh, id=played.id),
        "the same group": case("leak", fresh, group=played.group),
        "the same image by URI": case("leak", own),
        "the same image by its pixels": case("leak", copied),
        "one image of several": case(
            "leak", fresh, images=(ImageRef(uri=fresh), ImageRef(uri=copied))
        ),
        "the validation split": case("leak", fresh, split="validation"),
        "the test split": case("leak", fresh, split="test"),
        "an image that cannot be checked": case("leak", f"file:{tmp_path / 'gone.png'}"),
    }


LEAKS = (
    "the case itself", "the same group", "the same image by URI", "the same image by its pixels",
    "one image of several", "the validation split", "the test split",
    "an image that cannot be checked",
)  # fmt: skip


@pytest.mark.parametrize("kind", LEAKS)
def test_a_planted_leak_is_withheld(kind: str, played: Case, tmp_path: Path) -> None:
    planted = leaks(played, tmp_path)
    assert set(planted) == set(LEAKS)
    result = call(corpus(tmp_path, planted[kind]), workspace_of(played), "nodule lung")
    assert result.data["ids"] == ["ward/train/harmless"]
    assert "answer of leak" not in result.text
    assert "answer of harmless" in result.text


def test_a_near_duplicate_is_withheld(tmp_path: Path) -> None:
    drawn = Image.fromarray(open_image(ImageRef(uri="phantom:train/fundus/256/3")).pixels)
    drawn.save(tmp_path / "own.png")
    drawn.crop((8, 0, 250, 244)).convert("L").save(tmp_path / "copy.jpg", quality=60)
    played = case("played", f"file:{tmp_path / 'own.png'}")
    leak = case("leak", f"file:{tmp_path / 'copy.jpg'}")
    result = call(corpus(tmp_path, leak), workspace_of(played), "nodule lung")
    assert result.data["ids"] == ["ward/train/harmless"]


def test_other_images_of_one_zip_are_found(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for seed in range(3):
            picture(tmp_path / f"{seed}.png", seed)
            archive.write(tmp_path / f"{seed}.png", f"{seed}.png")
    uri = f"file:{tmp_path / 'images.zip'}"
    images = [ImageRef(uri=uri, member=f"{seed}.png") for seed in range(3)]
    mine, other = (case(f"p{n}", uri, images=(images[n],)) for n in range(2))
    again = case("p2", uri, images=(images[0],))
    episode = Rules(tools=(), view_size=64).begin(mine)
    found = call(corpus(tmp_path, other, again), episode.workspace, "nodule lung").text
    assert "answer of p1" in found
    assert "answer of p2" not in found


def test_without_the_guard_the_leaks_would_be_found(
    played: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Retrieve.__call__.__globals__, "allowed", lambda document, workspace: True)
    for planted in leaks(played, tmp_path).values():
        tool = corpus(tmp_path, planted)
        Retrieve.__call__.__globals__["_indices"].clear()
        assert "answer of leak" in call(tool, workspace_of(played), "nodule lung").text


def test_a_passage_about_the_case_is_withheld(played: Case, tmp_path: Path) -> None:
    lines = [
        {"id": "report", "text": "a nodule of 8 mm", "group": played.group},
        {"id": played.id, "text": "a nodule of 9 mm"},
        {"id": "book", "text": "a nodule is round", "title": "Nodules"},
    ]
    file = tmp_path / "passages.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines))
    result = call(Retrieve(passages=file), workspace_of(played), "nodule")
    assert result.data["ids"] == ["book"]
    assert result.text == "[1] Nodules: a nodule is round"


def test_a_part_of_a_file_of_cases_makes_a_corpus(tmp_path: Path) -> None:
    write_cases([case("harmless", picture(tmp_path / "harmless.png", 99))], tmp_path / "c.jsonl")
    assert Retrieve(corpus=f"{tmp_path / 'c.jsonl'}[:1]").corpus


def test_cases_of_the_training_split_alone_make_a_corpus() -> None:
    for split in ("validation", "test"):
        with pytest.raises(UserError, match="fix: name SOURCE:train"):
            Retrieve(corpus=f"phantom:{split}[:10]")


def test_no_case_of_a_phantom_corpus_is_handed_back_to_itself() -> None:
    spec = "phantom,question=kind+size:train[:24]"
    tool = Retrieve(corpus=spec)
    for played in open_cases(spec)[:8]:
        result = call(tool, workspace_of(played), played.question)
        groups = {case.group for case in open_cases(spec) if case.id in result.data["ids"]}
        assert len(result.data["ids"]) == 5
        assert played.group not in groups


def test_the_passages_that_ship_are_found() -> None:
    workspace = workspace_of(open_cases("phantom:train")[0])
    tool = Retrieve()
    for kind in ("striated", "banded", "granular", "oblique"):
        result = call(tool, workspace, f"what does {kind} look like", k=1)
        assert result.data["ids"] == [f"phantoms/{kind}"]
    assert call(tool, workspace, "vertical stripe", k=1).data["ids"] == ["phantoms/striated"]
    assert "other words may help" in call(tool, workspace, "zzz !!! \x00").text


def test_k_bounds_what_is_returned() -> None:
    workspace = workspace_of(open_cases("phantom:train")[0])
    for k in range(1, 6):
        result = call(Retrieve(), workspace, "lesion of a phantom", k)
        assert len(result.data["ids"]) == k
        assert result.data["scores"] == sorted(result.data["scores"], reverse=True)
    with pytest.raises(ToolError, match="k"):
        call(Retrieve(), workspace, "lesion", 6)


def test_the_index_is_built_once_for_all_threads(tmp_path: Path, played: Case) -> None:
    tools = [corpus(tmp_path) for _ in range(8)]
    results: list[str] = []
    workspace = workspace_of(played)
    threads = [
        threading.Thread(target=lambda t=tool: results.append(call(t, workspace, "nodule").text))
        for tool in tools
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert len(set(results)) == 1
    index = Retrieve.__call__.__globals__["index"]
    assert index(tools[0].corpus, None) is index(tools[1].corpus, None)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "a", "text": "b"}\n{"id": "c"}', "line 2: text: Field required"),
        ('{"id": "a", "text": "b", "titel": "c"}', "line 1: titel"),
        ("not JSON", "line 1"),
    ],
)
def test_a_wrong_file_of_passages_is_named(line: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "passages.jsonl"
    file.write_text(line)
    workspace = workspace_of(open_cases("phantom:train")[0])
    with pytest.raises(UserError) as error:
        call(Retrieve(passages=file), workspace, "b")
    assert str(file) in str(error.value)
    assert said in str(error.value)


def test_a_missing_file_or_source_is_named() -> None:
    workspace = workspace_of(open_cases("phantom:train")[0])
    with pytest.raises(UserError, match="no such file of passages"):
        call(Retrieve(passages="nowhere.jsonl"), workspace, "b")
    with pytest.raises(UserError, match="unknown source"):
        Retrieve(corpus="fantom:train")


def test_a_slide_is_known_by_its_overview(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = []
    for name, width in (("a.tif", 512), ("copy.tif", 512), ("b.tif", 448)):
        path = write_tiff(tmp_path / name, levels_of(width, 384))
        hashes.append(pixel_hash(open_image(ImageRef(uri=f"file:{path}"))))
    assert hashes[0] == hashes[1] != hashes[2]
    monkeypatch.setattr("medgym.imaging.slides.image.MAX_PIXELS", 100_000)  # too many to read
    path = tmp_path / "a.tif"
    assert pixel_hash(open_image(ImageRef(uri=f"file:{path}"))) != hashes[2]


def test_a_corrupted_variant_is_shown_no_copy_of_its_original(tmp_path: Path) -> None:
    drawn = Image.fromarray(open_image(ImageRef(uri="phantom:test/fundus/256/3")).pixels)
    drawn.save(tmp_path / "own.png")
    drawn.save(tmp_path / "copy.jpg", quality=70)
    own = case("played", f"file:{tmp_path / 'own.png'}", modality="OP", split="test")
    write_cases([own], tmp_path / "own.jsonl")
    leak = case("leak", f"file:{tmp_path / 'copy.jpg'}")
    tool = corpus(tmp_path, leak)
    by = "defocus-blur-5"  # by its own pixels it is no near duplicate of the copy
    variant = f'variant,of="{tmp_path / "own.jsonl"}",by={by}:all'
    for spec in (variant, f'variant,of="{variant.replace(chr(34), chr(34) * 2)}",by=jpeg-1:all'):
        (played,) = open_cases(spec)
        episode = Rules(tools=(), view_size=64).begin(played)
        found = call(tool, episode.workspace, "nodule lung")
        assert found.data["ids"] == ["ward/train/harmless"], spec
    shown = pickle.loads(pickle.dumps(episode.workspace.images[0]))  # as it travels to an actor
    assert shown.start.original is not None


def test_a_slab_of_a_corrupted_volume_is_known_by_its_original(tmp_path: Path) -> None:
    chance = np.random.default_rng(5)
    for number in range(4):
        pixels = chance.integers(0, 256, (6, 6)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    frames = [Image.open(tmp_path / f"{number}.png") for number in range(4)]
    frames[0].save(tmp_path / "clip.tif", save_all=True, append_images=frames[1:])
    ref = ImageRef(uri=f"file:{tmp_path / 'clip.tif'}", plane="frame", index=1, slab=Slab(3))
    original = open_image(ref)
    Image.fromarray(np.asarray(original.render((0, 0, 96, 96), (96, 96)))).save(tmp_path / "c.png")
    own = case("played", ref.uri, images=(ref,), split="test")
    write_cases([own], tmp_path / "own.jsonl")
    (played,) = open_cases(f'variant,of="{tmp_path / "own.jsonl"}",by=gaussian-noise-5:all')
    episode = Rules(tools=(), view_size=64).begin(played)
    tool = corpus(tmp_path, case("leak", f"file:{tmp_path / 'c.png'}"))
    assert call(tool, episode.workspace, "nodule lung").data["ids"] == ["ward/train/harmless"]


def test_passages_that_ship_are_named() -> None:
    (rules,) = load_tools(["retrieve?passages=phantom-rules"])
    (default,), (named,) = load_tools(["retrieve"]), load_tools(["retrieve?passages=phantoms"])
    called = rules.parse({"query": "rule Kestrel Amber", "k": 1})
    assert rules(called, Workspace([])).text.startswith(
        "[1] Rule Kestrel Amber: every lesion is of"
    )
    called = default.parse({"query": "a banded lesion"})
    assert named(called, Workspace([])).text == default(called, Workspace([])).text


def clip(path: Path, frames: Iterable[int], quality: int | None = None) -> str:
    """A clip of pictures that are another for each number, as TIFF; its URI."""
    made = []
    for seed in frames:
        small = np.random.default_rng(1000 + seed).integers(0, 256, (6, 6)).astype(np.uint8)
        made.append(Image.fromarray(small if seed else small * 0).resize((96, 96)).convert("RGB"))
    how: dict[str, Any] = {} if quality is None else {"compression": "jpeg", "quality": quality}
    made[0].save(path, save_all=True, append_images=made[1:], **how)
    return f"file:{path}"


@pytest.mark.parametrize(
    ("frames", "is_copy"),
    [
        ([1000, *range(1, 24)], True),  # a copy with another first image
        ([*range(23, 0, -1), 1000], True),  # the other way round
        ([1000, 0, 0, 7, 0], True),  # one image of the series among others
        ([1000, *range(100, 122), 0], False),  # nothing in common but a black image
    ],
)
def test_a_copied_series_is_withheld_wherever_it_begins(
    frames: list[int], is_copy: bool, tmp_path: Path
) -> None:
    uris = clip(tmp_path / "own.tif", range(24)), clip(tmp_path / "other.tif", frames, quality=70)
    refs = [ImageRef(uri=uri, plane="frame", index=3 * n) for n, uri in enumerate(uris[::-1])]
    other, own = (
        case(key, "", images=(ref,)) for key, ref in zip(("other", "own"), refs, strict=True)
    )
    episode = Rules(tools=(), view_size=64).begin(own)
    plain = corpus(tmp_path, other)
    indexed = Retrieve(index=built([str(tmp_path / "corpus.jsonl")], tmp_path / "index"))
    for tool in (plain, indexed):
        found = call(tool, episode.workspace, "nodule lung").data["ids"]
        assert ("ward/train/other" in found) is not is_copy
        assert "ward/train/harmless" in found


def test_the_images_that_stand_for_a_series_are_among_those_that_it_is_compared_by() -> None:
    for count in range(2, 3000):
        assert {*_spread(count, SAMPLES)} <= {*_spread(count, COMPARED)}
