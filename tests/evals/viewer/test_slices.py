"""Volumes on the page of `medgym view`: the slice that a view is of, the slider, a slice's gold."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from medgym.cases import Case, open_cases
from medgym.episode import Rules
from medgym.evals.commands.view import write_page
from medgym.evals.viewer import slices
from medgym.evals.viewer.slices import write_slices
from medgym.imaging.study import open_study
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling
from medgym.rollout import collect
from medgym.storage.run_folder import RunFolder
from medgym.tool import load_tools

from .test_page import browser, opened, shown

CASES = "phantom,look=ct-volume,question=kind,size=128,depth=8:train[:2]"
CALLS = (
    ("slice", {"view": 0, "plane": "axial", "index": 6}),
    ("zoom", {"view": 1, "box": [0, 0, 500, 250]}),
    ("window", {"view": 2, "preset": "lung"}),
    ("slice", {"view": 0, "plane": "axial", "index": 3, "slab": 3}),
)


class Scrolls(Policy):
    """Makes the same calls in each episode, then answers."""

    spec = "scrolls"

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        made = sum(message.role == "assistant" for message in conversation)
        return Reply(render_call(*CALLS[made]) if made < len(CALLS) else render_answer("A"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder.create(
        tmp_path_factory.mktemp("volumes") / "run",
        {"command": "rollout", "policy": "scrolls", "cases": CASES},
    )
    rules = Rules(tools=load_tools(["slice", "zoom", "window"]), view_size=64)
    for _ in collect(open_cases(CASES), Scrolls(), rules, out=folder, concurrency=1):
        pass
    folder.finish()
    return folder


@pytest.fixture
def case() -> Case:
    return open_cases(CASES)[0]


def kept(folder: RunFolder) -> Any:
    """What the page is given of slices."""
    text = (folder.path / "view" / "index.html").read_text("utf-8")
    return json.loads(text.partition("const SLICES = ")[2].partition(";</script>")[0])


def test_the_page_knows_what_each_look_is_of_and_where_the_gold_lies(
    run: RunFolder, case: Case
) -> None:
    told = shown(run)
    looks = told["groups"][0]["episodes"][0]["parts"][0]["looks"]
    assert [(look["plane"], look["index"]) for look in looks] == [
        ("axial", i) for i in (6, 6, 6, 3)
    ]
    assert looks[2]["window"]["width"] == 1500
    assert looks[3]["slab"] == {"count": 3, "how": "mean"}
    assert not {"slab", "window"} & set(looks[0])
    about = told["cases"][case.id]
    start = {"plane": "coronal", "index": 63, "slab": {"count": 128, "how": "mean"}}
    assert about["starts"] == [start]
    assert about["volumes"]["0"]["axial"] == {"count": 8, "size": [128, 128]}
    (region,) = case.regions
    assert region.index is not None
    assert about["regions"][0]["plane"] == "axial"
    assert about["regions"][0]["indices"] == [region.index, region.index + region.count]


def test_the_slices_of_a_plane_are_tiles_of_one_picture(run: RunFolder, case: Case) -> None:
    write_page(run)
    told = kept(run)[case.id]["0"]
    assert list(told) == ["axial"], "the coronal images were neither looked at nor show gold"
    stack = told["axial"]
    assert stack["indices"] == list(range(8))
    study, (width, height) = open_study(case.images[0]), stack["tile"]
    with Image.open(run.path / "view" / stack["file"]) as picture:
        assert picture.size == (width * stack["columns"], height * stack["rows"])
        for number, index in enumerate(stack["indices"]):
            left, top = width * (number % stack["columns"]), height * (number // stack["columns"])
            tile = picture.crop((left, top, left + width, top + height)).convert("RGB")
            assert tile.tobytes() == study.show("axial", index, size=(width, height)).tobytes()


def test_few_slices_are_kept_and_those_that_were_looked_at_are_among_them(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "MOST", 5)
    monkeypatch.setattr(slices, "ON_THE_PAGE", 12)
    (tmp_path / "old.png").write_bytes(b"")
    other = case.model_copy(update={"id": "other"})
    looked = {(0, "axial"): {6, 5}, (0, "coronal"): {100, 101, 102, 103, 104, 105, 900}}
    calls = []
    told = write_slices(
        {case.id: (case, looked), "other": (other, looked)},
        tmp_path, Path.write_bytes, lambda: calls.append(1),
    )  # fmt: skip
    planes = told[case.id][0]
    (region,) = case.regions
    assert {5, 6, region.middle} < set(planes["axial"]["indices"])
    assert len(planes["axial"]["indices"]) == 5
    assert planes["coronal"]["indices"] == [100, 101, 102, 103, 104]
    assert "other" not in told, "the page is full"
    assert len(calls) == 2
    assert {path.name for path in tmp_path.iterdir()} == {
        Path(plane["file"]).name for plane in planes.values()
    }


def test_a_plane_that_takes_reading_the_whole_volume_has_fewer(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(slices, "VOXELS", 3 * 128 * 128 * 8)
    looked = {(0, "sagittal"): {100}}
    told = write_slices({"a": (case, looked)}, tmp_path, Path.write_bytes, lambda: None)["a"][0]
    assert len(told["axial"]["indices"]) == 8
    assert len(told["sagittal"]["indices"]) == 3
    assert 100 in told["sagittal"]["indices"]


@browser
def test_a_slider_shows_each_slice_with_its_own_gold_and_looks(
    run: RunFolder, case: Case, tmp_path: Path
) -> None:
    write_page(run)
    (region,) = case.regions
    assert region.index is not None
    state = """[document.querySelector(".place").textContent,
      document.querySelectorAll("rect.gold").length,
      document.querySelectorAll("rect:not(.gold)").length,
      document.querySelector(".scene").getBoundingClientRect().height, location.hash]"""
    key = "document.dispatchEvent(new KeyboardEvent('keydown', {key: '%s'}))"
    slide = """(() => { const slider = document.querySelector("input[type=range]");
      slider.value = 7; slider.dispatchEvent(new Event("input")); })()"""
    mark = "document.querySelectorAll('.marks button')[0].click()"
    marks = """[[...document.querySelectorAll(".marks button")].map((each) => each.style.left),
      document.querySelectorAll(".marks i").length,
      [...document.querySelectorAll("figcaption")].map((each) => each.textContent)]"""
    start, gold, empty, right, slid, clicked, about = opened(
        run, tmp_path, ("", [state]), (f"#at=0,{region.index},axial", [state]),
        ("#at=0,6,axial", [state]), ("", [key % "ArrowRight", key % "ArrowRight", state]),
        ("#at=0,1,axial", [slide, state]), ("#at=0,0,axial", [mark, state]),
        ("#at=0,0,axial", [marks]),
    )  # fmt: skip
    # The scout: 128 x 8 voxels, each much deeper than wide, and none of the axial gold and looks.
    assert start.found[:3] == ["coronal 63 of 0 to 127, mean of 128", 0, 0]
    assert start.found[3] == pytest.approx(288, abs=2)
    assert gold.found[:2] == [f"axial {region.index} of 0 to 7", 1]
    assert empty.found[:3] == ["axial 6 of 0 to 7", 0, 3]
    # The keyboard opens the plane where the policy looked first, then goes on.
    assert right.found[0] == "axial 7 of 0 to 7"
    assert "at=0%2C7%2Caxial" in right.found[4]
    assert slid.found[0] == "axial 7 of 0 to 7"
    assert clicked.found[0] == "axial 3 of 0 to 7"
    places = [float(left.removesuffix("%")) for left in about.found[0]]
    assert places == [pytest.approx(100 * at / 7, abs=0.01) for at in (3, 6)]
    assert about.found[1] == region.count
    assert about.found[2] == [
        "view 0: coronal 63 of 0 to 127, mean of 128",
        "view 1: axial 6 of 0 to 7",
        "view 2: axial 6 of 0 to 7",
        "view 3: axial 6 of 0 to 7, window -600, 1500",
        "view 4: axial 3 of 0 to 7, mean of 3",
    ]
