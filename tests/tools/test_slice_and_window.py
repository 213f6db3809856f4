"""Planes in an episode: what views show, what tools keep, what records and metrics know of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgym import (
    Case,
    CaseView,
    ImagePlace,
    Look,
    OpenedImage,
    Region,
    Rules,
    Slab,
    Trajectory,
    View,
    Window,
    Workspace,
    load,
    load_tools,
)
from medgym.errors import ToolError, UserError
from medgym.failures import ContractError
from medgym.imaging.grey import PRESETS
from medgym.imaging.imaging_study import Plane, shown_in
from medgym.imaging.study import ImageRef, Study
from medgym.messages import ToolCall
from medgym.metrics.counterfactual import exchanged
from medgym.metrics.looking import hit
from medgym.metrics.regions import overlap, placed, regions_iou
from medgym.metrics.stretched import stretched
from medgym.rollout.record import looks_of
from medgym.source import Source
from medgym.storage.run_folder import content
from medgym.storage.trajectories import TrajectoryStore
from medgym.testing import PlainVolume
from medgym.tools.window import Preset

RNG = np.random.default_rng(11)
VALUES = RNG.integers(-900, 900, (9, 14, 20)).astype(np.float32)  # z, y, x
OTHER = VALUES[::-1, :7, :10].copy() + 1
START = ImagePlace("coronal", 6, Slab(14))


class Volumes(Source):
    """Two volumes, by the last letter of the URI."""

    name = "volumes"

    def cases(self, split: str) -> Any:
        return ()

    @classmethod
    def open_image(cls, ref: ImageRef) -> PlainVolume:
        return PlainVolume(OTHER if ref.uri.endswith("b") else VALUES)


@pytest.fixture
def volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(kind: str, name: str) -> Any:
        return Volumes if kind == "sources" else load(kind, name)

    monkeypatch.setattr("medgym.registry.load", loaded)


def case(which: str = "a", **named: Any) -> Case:
    index = 3 if which == "b" else 6
    ref = ImageRef(uri=f"volumes:{which}", plane="coronal", index=index, slab=Slab(14))
    kept = {"question": "What?", "answer": "x", "source": "volumes", "split": "all"}
    return Case(**{"id": which, "group": which, "images": (ref,), **kept, **named})


def opened() -> OpenedImage:
    volume = PlainVolume(VALUES)
    return OpenedImage(volume, START, volume.slab("coronal", 6, Slab(14)))


def workspace(view_size: int = 64, **options: Any) -> Workspace:
    return Workspace([opened()], view_size=view_size, **options)


def called(space: Workspace, name: str, **arguments: Any) -> View:
    (tool,) = load_tools([name])
    (view,) = tool(tool.parse(arguments), space).views
    return space.add(view)


def refused(space: Workspace, name: str, **arguments: Any) -> str:
    (tool,) = load_tools([name])
    with pytest.raises(ToolError) as error:
        tool(tool.parse(arguments), space)
    return str(error.value)


def rendered(values: Any, view: View, window: Window) -> Any:
    return Study(values, window=window).render(view.box_px, view.size)


def test_a_slice_is_the_image_of_its_plane_and_index() -> None:
    space = workspace()
    view = called(space, "slice", view=0, plane="axial", index=3)
    assert (view.plane, view.index, view.slab, view.window) == ("axial", 3, None, None)
    assert view.picture == rendered(VALUES[3], view, Window(40, 800))
    assert view.size == (20, 14)
    side = called(space, "slice", view=1, plane="coronal", mm=5.2)
    assert (side.index, side.size) == (5, (20, 18))  # voxels are twice as deep as wide
    slab = called(space, "slice", view=1, index=4, slab=3, how="maximum")
    assert slab.slab == Slab(3, "maximum")
    assert slab.picture == rendered(VALUES[3:6].max(axis=0), slab, Window(40, 800))


def test_a_window_shows_the_same_region_in_other_greys() -> None:
    space = workspace()
    called(space, "slice", view=0, plane="axial", index=3)
    view = called(space, "zoom", view=1, box=[100, 100, 600, 700])
    bone = called(space, "window", view=2, preset="bone")
    assert (bone.box_px, bone.size, bone.plane, bone.index) == (view.box_px, view.size, "axial", 3)
    assert bone.picture == rendered(VALUES[3], view, PRESETS["bone"])
    own = called(space, "window", view=3, centre=100, width=50)
    assert own.picture == rendered(VALUES[3], view, Window(100, 50))
    assert own.picture != bone.picture != view.picture
    assert set(Preset.__args__) == set(PRESETS)  # type: ignore[attr-defined]


def test_what_is_inverted_stays_inverted() -> None:
    study = Study(VALUES[0], window=Window(0, 100, inverted=True))
    assert shown_in(study, PRESETS["lung"]).window == Window(-600, 1500, "LINEAR", inverted=True)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("slice", {"plane": "axial", "index": 9}, "there is no index 9; plane axial has 0 to 8"),
        ("slice", {"plane": "axial", "index": -1}, "plane axial has 0 to 8"),
        ("slice", {"plane": "oblique", "index": 1}, "expected one of axial, coronal"),
        ("slice", {"plane": "axial"}, "expected either index or mm"),
        ("slice", {"index": 1, "mm": 2.0}, "expected either index or mm"),
        ("slice", {"plane": "axial", "mm": 18.0}, "plane axial has 0.0 to 16.0 mm"),
        ("slice", {"index": 1, "slab": 0}, "greater than or equal to 1"),
        ("slice", {"index": 1, "how": "sum"}, "'mean', 'maximum' or 'minimum'"),
        ("window", {"centre": 3.0}, "expected centre and width, or a preset"),
        ("window", {"preset": "bone", "width": 3.0}, "expected centre and width, or a preset"),
        ("window", {"preset": "skin"}, "'lung', 'bone'"),
        ("window", {"centre": 3.0, "width": 0.0}, "greater than 0"),
    ],
)
def test_what_cannot_be_shown_is_refused_and_says_what_can(
    name: str, arguments: dict[str, Any], said: str
) -> None:
    text = refused(workspace(), name, view=0, **arguments)
    assert said in text
    assert "\n" not in text


def test_flat_images_have_one_slice_and_windows_of_grey_values() -> None:
    grey = Study(RNG.integers(0, 256, (30, 40)).astype(np.uint8))
    space = Workspace([grey, Study(np.zeros((4, 5, 3), np.uint8))], view_size=32)
    assert called(space, "slice", view=0, index=0).picture == space.view(0).picture
    dark = called(space, "window", view=0, centre=500, width=10)
    assert not np.asarray(dark.picture).any()
    assert "plane image has 0 to 0" in refused(space, "slice", view=0, index=1)
    assert "no place in millimetres" in refused(space, "slice", view=0, mm=1.0)
    assert "needs Hounsfield units" in refused(space, "window", view=0, preset="bone")
    assert "colours" in refused(space, "window", view=1, centre=5, width=3)


boxes = st.tuples(*[st.floats(0, 1)] * 4).filter(lambda b: b[0] != b[2] and b[1] != b[3])


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["axial", "coronal"]), st.integers(0, 8), st.integers(1, 40),
       st.lists(st.tuples(boxes, st.sampled_from(["zoom", "crop"])), min_size=1, max_size=4),
       st.booleans(), st.integers(1, 4))  # fmt: skip
def test_crops_of_crops_keep_their_place_and_map_back(
    plane: str, index: int, view_size: int, looks: Any, windowed: bool, slab: int
) -> None:
    space = workspace(view_size, coordinates="pixel")
    view = called(space, "slice", view=0, plane=plane, index=index, slab=slab)
    if windowed:
        view = called(space, "window", view=1, centre=10, width=300)
    place = view.place
    for box, tool in looks:
        across, down = space.scale(view)
        x, y = sorted(box[::2]), sorted(box[1::2])
        asked = x[0] * across, y[0] * down, x[1] * across, y[1] * down
        exact = view.to_px(asked, (across, down))
        again = view.from_px(exact, (across, down))
        assert np.allclose(again, asked, atol=1e-6)
        whole = view.box_px
        if not (asked[0] < asked[2] and asked[1] < asked[3]):
            return
        view = called(space, tool, view=view.number, box=list(asked))
        assert view.place == place
        for axis, (got, wanted) in enumerate(zip(view.box_px, exact, strict=True)):
            assert whole[axis % 2] <= got <= whole[axis % 2 + 2]
            assert abs(got - wanted) <= 0.5 + 1e-6 or view.box_px[axis % 2 + 2] - got in (0, 1)
    assert view.picture == rendered(
        np.asarray(space.study(view).pixels), view, place.window or Window(40, 800)
    )


def test_a_view_of_nothing_that_exists_is_refused() -> None:
    space = workspace()
    picture = space.view(0).picture
    for place in (ImagePlace(), ImagePlace("axial", 9), ImagePlace("sagittal", 0)):
        with pytest.raises(ContractError, match="impossible view"):
            space.add(View(-1, 0, (0, 0, 1, 1), picture, "x", place))
    with pytest.raises(ContractError, match="does not lie"):
        space.add(View(-1, 0, (0, 0, 20, 10), picture, "x", ImagePlace("coronal", 1)))


def test_segment_measures_the_slice_that_is_seen() -> None:
    values = np.full((9, 40, 40), -800, np.float32)
    values[5, 10:20, 12:26] = 400
    volume = PlainVolume(values)
    start = ImagePlace("coronal", 3)
    space = Workspace([OpenedImage(volume, start, volume.image("coronal", 3))], view_size=64)
    called(space, "slice", view=0, plane="axial", index=5)
    (tool,) = load_tools(["segment"])
    result = tool(tool.parse({"view": 1, "box": [100, 100, 800, 700]}), space)
    assert "Area 140.0 mm2" in result.text
    assert (result.data["plane"], result.data["index"]) == ("axial", 5)
    assert result.views[0].place == space.view(1).place


@pytest.mark.usefixtures("volumes")
def test_an_episode_says_where_each_view_lies() -> None:
    shown = CaseView(image=0, box_px=(0, 0, 4, 4), plane="axial", index=2, window=Window(1, 2))
    episode = Rules(tools=load_tools(["slice"])).begin(case(views=(shown,)))
    text = episode.messages[1].text
    assert text.startswith(
        "View 0: image 0, 20 x 9 pixels, coronal 6 of 0 to 13, mean of 14. "
        "Other planes: axial 0 to 8.\n"
        "View 1: 4 x 4 pixels of image 0, axial 2 of 0 to 8, window 1, 2.\n"
    )
    call = '<tool_call>{"name": "slice", "arguments": {"view": 1, "index": 4}}</tool_call>'
    said = episode.step(call)
    assert said is not None
    assert said.text == (
        "View 2: 20 x 14 pixels of image 0, axial 4 of 0 to 8, window 1, 2.\nIt lies at 8.0 mm."
    )
    for wrong in ({"plane": "axial", "index": 9}, {"plane": "x", "index": 0}, {"plane": "axial"}):
        bad = shown.model_copy(update={"index": None, **wrong})
        with pytest.raises(UserError, match="fix: correct views") as error:
            Rules().begin(case(views=(bad,)))
        assert "\n" not in str(error.value)


@pytest.mark.usefixtures("volumes")
def test_records_hold_the_place_and_leave_out_what_is_flat(tmp_path: Path) -> None:
    episode = Rules(tools=load_tools(["slice", "window", "zoom"])).begin(case())
    calls: list[Mapping[str, Any]] = [
        {"name": "slice", "arguments": {"view": 0, "plane": "axial", "index": 4, "slab": 2}},
        {"name": "window", "arguments": {"view": 1, "preset": "lung"}},
        {"name": "zoom", "arguments": {"view": 2, "box": [0, 0, 250, 500]}},
    ]
    for call in calls:
        episode._call(ToolCall(call["name"], call["arguments"]))
    looks = looks_of(episode)
    lung = PRESETS["lung"]
    assert looks[0] == Look("slice", 0, (0, 0, 20, 14), 1.0, "axial", 4, Slab(2))
    assert looks[2].gain == pytest.approx(64, rel=0.1)  # 5 x 7 pixels fill 448
    assert (looks[2].plane, looks[2].slab, looks[2].window) == ("axial", Slab(2), lung)
    base = Trajectory("a", "p", 0, 0, "text", (), terms={})
    placed_run = Trajectory("a", "p", 0, 0, "text", (), terms={}, looks=looks)
    flat = Trajectory("b", "p", 0, 0, "text", (), terms={}, looks=(Look("zoom", 0, (0, 0, 1, 1)),))
    store = TrajectoryStore(tmp_path)
    for part in ([base, flat], [placed_run]):
        store.write(part)
    assert list(store) == [base, flat, placed_run]
    look = store.table().schema.field("looks").type.value_type
    assert {"plane", "index", "slab", "window"} <= {look.field(i).name for i in range(8)}
    assert store.table().num_rows == 3
    hashes = {content([t])[1] for t in (flat, Trajectory(**{**vars(flat), "looks": ()}))}
    assert len(hashes) == 2


def test_a_hit_is_in_the_right_slice() -> None:
    region = Region(label="x", box_px=(2, 2, 6, 6), plane="axial", index=3, count=3)
    held = case(regions=(region,))

    def seen(plane: str, index: int, slab: Slab | None = None) -> bool | None:
        look = Look("zoom", 0, (0, 0, 10, 10), 2.0, plane, index, slab)
        return hit(held, Trajectory("a", "p", 0, 0, "text", (), looks=(look,)))

    assert seen("axial", 3)
    assert seen("axial", 5, Slab(3, "maximum"))
    assert not seen("axial", 2)
    assert not seen("axial", 6)
    assert not seen("coronal", 4)
    assert not seen("axial", 4, Slab(9))
    looks = [Look("zoom", 0, (2, 2, 6, 6), 2.0, "axial", index) for index in (2, 4, 5)]
    found = overlap(looks, [region])
    assert (found.shared, found.gold, found.looked) == (16, 16, 32)
    elsewhere = region.model_copy(update={"index": 7, "count": 1})
    one = region.model_copy(update={"index": 4, "count": 1})
    assert regions_iou([one], [region]) == pytest.approx(1 / 3)
    assert regions_iou([elsewhere], [region]) == 0
    (named,) = placed(case(regions=(Region(label="x", box_px=(2, 2, 6, 6)),)))
    assert (named.plane, named.index, named.count) == ("coronal", 6, 1)


@pytest.mark.usefixtures("volumes")
def test_exchanged_tools_show_the_other_volume_in_the_same_frame() -> None:
    cases = [case("a"), case("b")]
    rules = exchanged(Rules(tools=load_tools(["slice"])), cases)
    episode = rules.begin(cases[0])
    outcome = episode._call(ToolCall("slice", {"view": 0, "plane": "axial", "index": 3}))
    assert not outcome.failed
    (view,) = outcome.views
    stretched = OTHER[3].repeat(2, axis=0).repeat(2, axis=1)
    assert view.picture == rendered(stretched, view, Window(40, 800))
    assert episode.workspace.view(0).picture == workspace(448).view(0).picture


class Huge(PlainVolume):
    """A volume that says that its slices are too large to decode whole."""

    @property
    def planes(self) -> Mapping[str, Plane]:
        small = super().planes
        return {**small, "axial": Plane(9, (20_000, 14_000), (1.0, 1.0), "patient")}


def test_of_a_huge_plane_only_the_region_is_read() -> None:
    volume = Huge(VALUES)
    space = Workspace(
        [OpenedImage(volume, ImagePlace("coronal", 1), volume.image("coronal", 1))], view_size=32
    )
    place = {"plane": "axial", "index": 2}
    view = space.add(space.look(0, (4, 4, 8, 8), enlarge=False, made_by="x", **place))
    assert view.picture == rendered(VALUES[2], view, Window(40, 800))
    with pytest.raises(ToolError, match="20000 x 14000 pixels, too many"):
        space.study(view)


class Mixed(PlainVolume):
    """A volume of grey slices, of which the fourth is coloured."""

    def decode(self, plane: str, index: int, region: tuple[int, int, int, int]) -> Study:
        study = super().decode(plane, index, region)
        if (plane, index) != ("axial", 3):
            return study
        return Study(np.zeros((*study.pixels.shape, 3), np.uint8))


def test_grey_and_coloured_images_make_no_slab_and_colours_have_no_window() -> None:
    volume = Mixed(VALUES)
    space = Workspace([OpenedImage(volume, ImagePlace("axial", 0), volume.image("axial", 0))])
    called(space, "slice", view=0, index=2)
    said = refused(space, "slice", view=0, index=2, slab=3)
    assert said == "grey and coloured images make no slab; expected one image"
    called(space, "slice", view=0, index=3)
    assert "has colours" in refused(space, "window", view=2, centre=0.0, width=9.0)


def test_a_slab_of_images_too_large_for_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medgym.imaging.opened.WHOLE", 200)  # an axial slice has 280
    said = refused(workspace(), "slice", view=0, plane="axial", index=2, slab=3)
    assert said == "plane axial has 20 x 14 pixels, too many for a slab; expected one image"


def test_an_exchanged_image_that_cannot_be_read_is_not_named() -> None:
    class Gone(PlainVolume):
        def decode(self, plane: str, index: int, region: tuple[int, int, int, int]) -> Study:
            if plane == "axial":
                raise UserError("no such image: /cases/doe.dcm; fix: check the path")
            return super().decode(plane, index, region)

    volume = Gone(OTHER)
    other = OpenedImage(volume, START, volume.image("coronal", 3))
    with pytest.raises(UserError) as error:
        stretched(other, opened()).at(ImagePlace("axial", 2))
    assert "doe" not in str(error.value)
