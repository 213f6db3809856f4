"""`retrieve` with an index: what is built, what is found, what is withheld."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from medgym.cases import open_cases, write_cases
from medgym.errors import ToolError, UserError
from medgym.imaging.study import ImageRef, Study
from medgym.testing import check_tool
from medgym.tool import ToolResult, load_tools
from medgym.tools.retrieve.command import app
from medgym.tools.retrieve.index import vectors
from medgym.tools.retrieve.index.build import build_index
from medgym.tools.retrieve.index.manifest import NAME, read_manifest
from medgym.tools.retrieve.index.search import Query, open_index
from medgym.tools.retrieve.readers.corpora import corpora_of
from medgym.tools.retrieve.tool import Retrieve
from medgym.workspace import Workspace
from tests.tools.retrieve.conftest import pattern, plain_case
from tests.tools.retrieve.planted import LOOKS, built, found_first, leaked, with_leaks


def call(tool: Any, workspace: Workspace, **arguments: Any) -> ToolResult:
    result = tool(tool.parse(arguments), workspace)
    assert isinstance(result, ToolResult)
    return result


def showing(*pictures: Image.Image, modality: str | None = None) -> Workspace:
    return Workspace([Study(np.asarray(p), modality=modality) for p in pictures], view_size=96)


def test_words_find_a_passage_titled_by_its_headings(guide: Path) -> None:
    tool = Retrieve(index=guide)
    result = call(tool, showing(pattern(0)), query="how large are nodules", k=1)
    assert result.text == "[1] Lungs > Nodules: A nodule is round and smaller than 30 mm."
    assert result.data["ids"] == ["guide.md#2"]
    nothing = Retrieve(index=guide)(tool.parse({"query": "fracture", "k": 5}), showing(pattern(0)))
    assert nothing.data["ids"][0] == "guide.md#3"


def test_an_index_of_texts_takes_the_arguments_of_today(guide: Path) -> None:
    described = json.dumps(Retrieve(index=guide).schema()["parameters"])
    assert "view" in described  # blocks takes images, though there are none of cases here
    assert Retrieve().schema() == load_tools(["retrieve"])[0].schema()
    assert list(Retrieve().schema()["parameters"]["properties"]) == ["query", "k"]


def test_an_image_finds_its_like_and_a_box_what_is_like_it(ward: Path) -> None:
    tool = Retrieve(index=ward / "index")
    result = call(tool, showing(brighter(2)), view=0, k=2)
    assert result.data["ids"][0] == "ward/train/p2"
    wide = Image.new("RGB", (192, 96))
    wide.paste(brighter(1), (96, 0))
    result = call(tool, showing(wide), view=0, box=[500, 0, 1000, 1000], k=1)
    assert result.data["ids"] == ["ward/train/p1"]


def test_a_follow_up_finds_the_pair_in_which_both_are_alike(ward: Path) -> None:
    tool = Retrieve(index=ward / "index")
    pairs = showing(brighter(11), brighter(21))
    assert call(tool, pairs, view=1, prior=0, k=1).data["ids"] == ["ward/train/q1"]
    other = showing(brighter(12), brighter(20))  # of two pairs each one image
    ids = call(tool, other, view=1, prior=0, k=4).data["ids"]
    assert set(ids[:2]) == {"ward/train/q2", "ward/train/q0"}
    assert all("/q" in each for each in ids)


def brighter(seed: int) -> Image.Image:
    """Like the picture of a seed, and not a copy: another texture lies on it."""
    return Image.blend(pattern(seed), pattern(seed + 500), 0.35)


def test_the_part_of_the_modality_is_searched(ward: Path) -> None:
    tool = Retrieve(index=ward / "index")
    for modality, here, elsewhere in (("CT", "ct", "mr"), ("MR", "mr", "ct")):
        ids = call(tool, showing(pattern(90), modality=modality), query="nodule", k=5).data["ids"]
        assert here in ids
        assert "all" in ids
        assert elsewhere not in ids
    for modality in (None, "US"):  # unknown, and one without a part: all is searched
        ids = call(tool, showing(pattern(90), modality=modality), query="nodule bright dense", k=5)
        assert {"ct", "mr"} <= set(ids.data["ids"])


def test_ratio_hands_out_only_what_is_close_to_the_best(ward: Path) -> None:
    spec = f"retrieve?index={ward / 'index'}&select=ratio&gamma="
    counts = []
    for gamma in ("1", "0.6", "0.01"):
        (tool,) = load_tools([spec + gamma])
        counts.append(call(tool, showing(pattern(90)), query="bright", k=5).data["ids"])
    assert [len(each) for each in counts] == sorted(len(each) for each in counts)
    assert counts[0] == ["mr"]
    assert len(counts[-1]) > 1


def test_impossible_requests_are_told(ward: Path) -> None:
    tool = Retrieve(index=ward / "index")
    for arguments, said in (
        ({}, "expected query, view, or both"),
        ({"query": "x", "box": [0, 0, 9, 9]}, "box needs view"),
        ({"query": "x", "prior": 0}, "prior needs view"),
        ({"view": 7}, "there is no view 7"),
        ({"view": 0, "box": [9, 9, 0, 0]}, "does not lie in view"),
        ({"view": 0, "k": 6}, "k"),
    ):
        with pytest.raises(ToolError, match=said):
            call(tool, showing(pattern(0)), **arguments)


def test_an_index_keeps_the_contract_of_tools(ward: Path) -> None:
    tool = Retrieve(index=ward / "index")
    check_tool(tool, cases=f"{LOOKS}:train[:1]", calls=5)
    again = pickle.loads(pickle.dumps(tool))
    assert again.schema() == tool.schema()
    assert again.version == tool.version != Retrieve().version


def test_planted_neighbours_are_found_first(tmp_path: Path) -> None:
    spec = f"{LOOKS},look=fundus:train[:16]"
    (tmp_path / "guide").mkdir()
    guide = Path(__file__).parents[3] / "docs" / "glossary.md"
    (tmp_path / "guide" / "glossary.md").write_text(guide.read_text("utf-8"), "utf-8")
    index = built([spec, str(tmp_path / "guide")], tmp_path / "index")
    found = found_first(index, open_cases(spec), 24)
    assert sum(hits for hits, _ in found.values()) >= 0.95 * 24, found


def test_nothing_leaks_not_to_corrupted_variants_either(tmp_path: Path) -> None:
    cases = open_cases(f"{LOOKS},look=fundus:test[:2]")
    names = [*with_leaks(list(cases), tmp_path), f"{LOOKS},look=fundus:train[:4]"]
    index = built(names, tmp_path / "index")
    assert leaked(index, cases, 24, each=4) == []
    ids = {
        part.document(n).id for part in open_index(index).parts
        for n in range(part.entry.documents)
    }  # fmt: skip
    assert sum("leak" in each for each in ids) == 16  # they are there to be found


def test_without_the_guard_a_variant_is_shown_copies_of_its_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = open_cases(f"{LOOKS},look=fundus:test[:1]")
    index = built(with_leaks(list(cases), tmp_path), tmp_path / "index")
    monkeypatch.setattr("medgym.tools.retrieve.indexed.allowed", lambda document, workspace: True)
    assert leaked(index, cases, 8, each=4)


def test_what_may_not_be_handed_out_is_left_out_and_counted(tmp_path: Path) -> None:
    pattern(1).save(tmp_path / "1.png")
    ref = ImageRef(uri=f"file:{tmp_path / '1.png'}")
    gone = ImageRef(uri=f"file:{tmp_path / 'gone.png'}")
    cases = [plain_case("a", ref), plain_case("b", ref, split="test"), plain_case("c", gone)]
    write_cases(cases, tmp_path / "cases.jsonl")
    manifest = build_index(corpora_of([str(tmp_path / "cases.jsonl")]), tmp_path / "ix", ["blocks"])
    assert manifest.documents == 1
    assert manifest.left_out == {
        "a case of the split test": (1, "ward/train/b"),
        "an image cannot be read": (1, "ward/train/c"),
    }
    with pytest.raises(UserError, match="only cases of the split 'train'"):
        corpora_of(["phantom:test[:3]"])


def test_a_build_is_the_same_again_and_leaves_no_half_behind(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("one passage about lungs\n\nanother about bones")
    names, out = [str(tmp_path / "a.md")], tmp_path / "ix"
    first = build_index(corpora_of(names), out, ["characters"])
    assert first.files == build_index(corpora_of(names), out, ["characters"]).files
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": "a", "text": "b"}\n{"id": "c"}')
    with pytest.raises(UserError, match=r"bad\.jsonl, line 2: text: Field required"):
        build_index(corpora_of([*names, str(bad)]), out, ["characters"])
    assert read_manifest(out).files == first.files  # the old one stands
    assert {each.name for each in tmp_path.iterdir()} == {"a.md", "bad.jsonl", "ix"}
    same = tmp_path / "same.jsonl"
    same.write_text('{"id": "a", "text": "b"}\n{"id": "a", "text": "c"}')
    with pytest.raises(UserError, match=r"two documents have the id 'a'.*line 1.*line 2"):
        build_index(corpora_of([str(same)]), out, ["characters"])
    for twice in ([*names, *names], ["phantom:train[:2]", "phantom:train[1:3]"]):
        with pytest.raises(UserError, match="two documents have the id"):
            build_index(corpora_of(twice), out, ["characters"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"index": "nowhere"}, "holds no index; fix"),
        ({"select": "ratio"}, "fix: add index=DIR"),
        ({"index": "GUIDE", "passages": "x.jsonl"}, "fix: build one index of all"),
        ({"index": "GUIDE", "select": "calibrated"}, "is not calibrated; fix"),
        ({"index": "GUIDE", "gamma": 0.5}, "add select=ratio"),
        ({"index": "GUIDE", "select": "ratio", "gamma": 2.0}, "gamma is 2"),
        ({"index": "GUIDE", "select": "best"}, "cannot select by 'best'"),
    ],
)
def test_options_that_cannot_be_are_named(options: dict[str, Any], said: str, guide: Path) -> None:
    given = {key: guide if value == "GUIDE" else value for key, value in options.items()}
    with pytest.raises(UserError, match=said):
        Retrieve(**given)


def test_the_commands(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(
        "# Air\n\nPneumothorax is air.\n\n# Bone\n\nFracture is a break."
    )
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("keep")
    run = CliRunner()
    ix, files = str(tmp_path / "ix"), str(tmp_path / "a.md")
    for arguments, said in (
        (["build", files, "--out", str(tmp_path / "taken")], "is no index"),
        (["build", files, "--out", ix, "--embedder", "clop:x"], "did you mean 'clip'"),
        (["build", files, "--out", ix, "--embedder", "clip"], "write clip:DIR"),
        (["build", files, "--out", ix, "--embedder", "blocks", "--embedder", "blocks"], "twice"),
        (["build", str(tmp_path / "b.md"), "--out", ix], "no such file of passages"),
        (["show", ix], "holds no index"),
    ):
        result = run.invoke(app, arguments)
        assert isinstance(result.exception, UserError), arguments
        assert said in str(result.exception)
    assert run.invoke(app, ["build", files, "--out", ix]).exit_code == 0
    shown = run.invoke(app, ["show", ix])
    assert "2 markdown" in shown.stdout
    losses = [{"case": str(n), "k": k, "loss": float(k < 3)} for n in range(60) for k in (1, 3, 5)]
    (tmp_path / "losses.jsonl").write_text("\n".join(map(json.dumps, losses)))
    result = run.invoke(
        app, ["calibrate", ix, "--losses", str(tmp_path / "losses.jsonl"), "--json"]
    )
    assert json.loads(result.stdout)["calibration"]["k"] == 3
    tool = Retrieve(index=ix, select="calibrated")
    assert "k" not in tool.schema()["parameters"]["properties"]
    assert len(call(tool, showing(pattern(0)), query="air and a break").data["ids"]) == 2


def test_a_graph_finds_nearly_what_an_exact_search_finds(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    rows = chance.standard_normal((1500, 4)).astype(np.float32) @ chance.standard_normal((4, 32))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    (tmp_path / "v.f32").write_bytes(rows.tobytes())
    recall = vectors.write_graph(tmp_path / "v.f32", 32, tmp_path / "v.usearch")
    assert recall > 0.95
    searched = vectors.VectorFile(tmp_path / "v.f32", 32, tmp_path / "v.usearch")
    places, scores = searched.nearest(rows[7], 10)
    assert places[0] == 7
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)


def test_above_a_number_of_vectors_a_graph_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medgym.tools.retrieve.index.writing.EXACT", 100)
    lines = [json.dumps({"id": str(n), "text": f"passage {n} about {n * n}"}) for n in range(300)]
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    index = built([str(tmp_path / "p.jsonl")], tmp_path / "ix")
    ((graph, recall),) = read_manifest(index).parts[0].graphs.items()
    assert graph == "texts-characters"
    assert recall > 0.9
    found = open_index(index).find(Query("passage 17 about 289"), 1, lambda _: True)
    assert found[0].document.id == "17"


def test_no_piece_of_a_long_passage_about_the_case_is_handed_out(tmp_path: Path) -> None:
    long = " ".join(f"sentence {number} of the report." for number in range(60))
    (tmp_path / "p.jsonl").write_text(json.dumps({"id": "ward/7", "text": long}))
    tool = Retrieve(index=built([str(tmp_path / "p.jsonl")], tmp_path / "ix"))
    studies = [Study(np.asarray(pattern(0)))]
    for names, found in (((), 3), (("ward/7",), 0)):
        workspace = Workspace(studies, view_size=96, names=names)
        assert len(call(tool, workspace, query="report", k=5).data["ids"]) == found


def test_an_index_that_was_replaced_is_not_searched_as_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("one passage")
    tool = Retrieve(index=built([str(tmp_path / "a.md")], tmp_path / "ix"))
    elsewhere = pickle.dumps(tool)
    (tmp_path / "a.md").write_text("another passage")
    built([str(tmp_path / "a.md")], tmp_path / "ix")
    with pytest.raises(UserError, match="was replaced after"):
        pickle.loads(elsewhere)
    with pytest.raises(UserError, match="was replaced after"):
        call(tool, showing(pattern(0)), query="passage")


@pytest.mark.parametrize("name", ["documents.jsonl", "owners.npy", "thumbs.u8"])
def test_a_file_of_another_index_is_named(name: str, tmp_path: Path, ward: Path) -> None:
    """Else the guard would compare images and names that are not those of the documents."""
    shutil.copytree(ward / "index", tmp_path / "ix")
    shutil.copy(tmp_path / "ix/parts/1" / name, tmp_path / "ix/parts/0" / name)
    with pytest.raises(UserError, match=rf"damaged.*parts/0/{name}.*fix: build it again"):
        open_index(tmp_path / "ix")


def test_a_damaged_index_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("one passage")
    index = built([str(tmp_path / "a.md")], tmp_path / "ix")
    vectors_of = index / "parts" / "0" / "texts-characters.f32"
    whole = vectors_of.read_bytes()
    vectors_of.write_bytes(whole[:0])
    workspace = showing(pattern(0))
    with pytest.raises(UserError, match=r"damaged.*characters.f32 is not the file"):
        call(Retrieve(index=index), workspace, query="one")
    vectors_of.write_bytes(whole)
    (index / "parts" / "0" / "offsets.npy").unlink()
    with pytest.raises(UserError, match=r"damaged.*fix: build it again"):
        call(Retrieve(index=index), workspace, query="one")
    (index / NAME).write_text("{")
    with pytest.raises(UserError, match="damaged"):
        Retrieve(index=index)
