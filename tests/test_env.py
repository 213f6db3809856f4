"""`MedEnv` keeps Gymnasium's contract: it passes the checker, repeats, and vectorises intact."""

import json
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from PIL import Image

import medgym
from medgym.cases import Case, open_cases
from medgym.env import MedEnv, contact_sheet
from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from medgym.messages import MAX_TEXT, render_call
from medgym.tool import ToolResult, as_tool
from medgym.workspace import Workspace

LOOK = render_call("zoom", {"view": 0, "box": [250, 250, 500, 500]})
ODD = "Rücken, 日本語, 𝄞, \u2028, \x00 and \U0010ffff"


@pytest.fixture(scope="module")
def odd_cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Cases whose questions are far from ASCII, with a small image."""
    path = tmp_path_factory.mktemp("images") / "a.png"
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return [
        Case(
            id=f"odd/train/{i}", images=(ImageRef(uri=path.as_uri()),), question=f"{i}: {ODD}?",
            options=("nein", "ja"), answer="ja", answer_type="choice", group=str(i), source="odd",
            split="train",
        )
        for i in range(5)
    ]  # fmt: skip


@as_tool
def echo(text: str) -> str:
    """Says it again."""
    return text


@pytest.mark.parametrize("tools", [["zoom"], ["zoom", "crop", "segment", "retrieve"], []])
def test_gymnasiums_checker_is_content(tools: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(medgym.make("phantom:train[:20]", tools=tools).unwrapped)


@pytest.mark.parametrize("name", ["medgym/Phantom-v0", "medgym/Cases-v0"])
@pytest.mark.parametrize("mode", [None, "rgb_array", "ansi"])
def test_it_is_registered(name: str, mode: str | None) -> None:
    env = gymnasium.make(name, render_mode=mode)
    observation, info = env.reset(seed=1)
    assert env.observation_space.contains(observation)
    rendered = env.render()
    if mode == "rgb_array":
        assert isinstance(rendered, np.ndarray)
        assert rendered.shape == (64, 64, 3)
    if mode == "ansi":
        assert "Question: " in str(rendered)
    assert (rendered is None) == (mode is None)
    env.close()
    assert info["case"].startswith("phantom/train/")


def played(env: Any, seed: int, actions: list[str]) -> list[Any]:
    """Everything that an episode hands out, as bytes and plain values."""
    out = []

    def keep(observation: Any, *rest: Any) -> None:
        *numbers, info = rest
        message = info.get("message", {"content": []})
        pictures = [p["image"].tobytes() for p in message["content"] if p["type"] == "image"]
        rest_of_info = {k: v for k, v in info.items() if k != "message"}
        out.append(
            (observation["text"], observation["image"].tobytes(), numbers, pictures, rest_of_info)
        )

    keep(*env.reset(seed=seed))
    for action in actions:
        keep(*env.step(action))
    return out


def test_the_same_seed_plays_the_same_bytes() -> None:
    actions = [LOOK, "nonsense", "<answer>B</answer>"]
    one, other = (medgym.make("phantom:train[:500]", tools=["zoom"]) for _ in range(2))
    for seed in (0, 1, 2**40):
        assert played(one, seed, actions) == played(other, seed, actions)
    ids = {one.reset(seed=seed)[1]["case"] for seed in range(20)}
    assert len(ids) > 10


def test_resets_without_a_seed_go_on_from_the_last_one() -> None:
    def ids() -> list[str]:
        env = medgym.make("phantom:train[:500]")
        return [env.reset(seed=3)[1]["case"], *(env.reset()[1]["case"] for _ in range(5))]

    assert ids() == ids()
    assert len(set(ids())) > 3


def test_an_observation_is_the_text_and_the_newest_view(odd_cases: list[Case]) -> None:
    env = MedEnv(odd_cases, ["zoom"], view_size=20)
    observation, info = env.reset(options={"case": "odd/train/3"})
    assert info["case"] == "odd/train/3"
    assert info["system"] in observation["text"]
    assert ODD in observation["text"]
    image = info["message"]["content"][0]["image"]
    assert image.size == (20, 15)
    assert np.array_equal(observation["image"][:15], np.asarray(image))
    assert not observation["image"][15:].any()
    observation, reward, terminated, truncated, info = env.step(LOOK)
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert observation["text"] == "View 1: 10 x 7 pixels of image 0."
    newest = np.asarray(info["message"]["content"][0]["image"])
    assert np.array_equal(observation["image"][: newest.shape[0], : newest.shape[1]], newest)
    observation, reward, terminated, truncated, info = env.step("<answer>B</answer>")
    assert (reward, terminated, truncated) == (pytest.approx(1.1), True, False)
    assert info["score"] == {"answer": 1.0, "format": 1.0}
    assert "message" not in info
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step("<answer>B</answer>")


def test_the_reward_is_zero_until_the_end_and_truncation_ends_it() -> None:
    env = MedEnv("phantom:train[:5]", max_turns=3, max_tokens=100)
    env.reset(seed=0)
    assert [env.step(LOOK)[1:4] for _ in range(3)] == [
        (0.0, False, False), (0.0, False, False), (0.0, False, True),
    ]  # fmt: skip
    env.reset(seed=0)
    env.spend(101)
    assert env.step(LOOK)[1:4] == (0.0, False, True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"case": "nothing"}, "nothing"),
        ({"case": 5}, "no case 5"),
        ({"case": -6}, "no case -6"),
        ({"colour": 1}, "unknown reset option 'colour'; known: case"),
    ],
)
def test_a_wrong_reset_is_named(odd_cases: list[Case], options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        MedEnv(odd_cases).reset(options=options)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"cases": "phantm:train"}, "did you mean 'phantom'"),
        ({"cases": "phantom:train[:0]"}, "names no case"),
        ({"tools": ["zom"]}, "did you mean 'zoom'"),
        ({"tools": ["zoom", "zoom"]}, "given twice"),
        ({"rubric": "outcom"}, "did you mean 'outcome'"),
        ({"max_turns": 0}, "max_turns is 0"),
        ({"view_size": -1}, "view_size is -1"),
        ({"view_size": 0}, "view_size is 0"),
        ({"coordinates": "inches"}, "inches"),
    ],
)
def test_a_wrong_environment_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        MedEnv(**arguments)


def test_a_view_size_that_gives_away_too_much_is_refused() -> None:
    with pytest.raises(UserError, match="give away"):
        MedEnv("phantom:train[:5]", view_size=448).reset(seed=0)


def test_a_spec_survives_json() -> None:
    env = medgym.make("phantom:train[:9]", tools=["zoom", "crop"], max_turns=4, render_mode="ansi")
    assert env.spec is not None
    spec = EnvSpec.from_json(json.dumps(json.loads(env.spec.to_json())))
    again = gymnasium.make(spec)
    assert played(again, 5, [LOOK]) == played(env, 5, [LOOK])
    assert spec.kwargs["tools"] == ["zoom", "crop"]


# Vectorised: texts intact over steps and autoresets, in both modes.


def make_odd(cases: list[Case]) -> MedEnv:
    return MedEnv(cases, ["zoom", echo], max_turns=3, view_size=20)


VECTORS = {
    "sync": lambda makers, **kw: SyncVectorEnv(makers, **kw),
    "async": lambda makers, **kw: AsyncVectorEnv(makers, shared_memory=True, **kw),
    "async, no shared memory": lambda makers, **kw: AsyncVectorEnv(
        makers, shared_memory=False, **kw
    ),
}


@pytest.mark.parametrize("autoreset", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("kind", VECTORS)
def test_texts_are_intact_in_vectors(kind: str, autoreset: Any, odd_cases: list[Case]) -> None:
    makers = [lambda: make_odd(odd_cases)] * 3
    vector = VECTORS[kind](makers, autoreset_mode=autoreset)
    lone = SyncVectorEnv(makers, autoreset_mode=autoreset)
    said = [f"{i} {ODD * n}" for i, n in enumerate((1, 0, 40))]
    rounds = [
        [render_call("echo", {"text": text}) for text in said],
        [LOOK, "nonsense \ud800", "<answer>B</answer>"],
        [LOOK, "<answer>A</answer>", LOOK],
        [render_call("echo", {"text": text}) for text in reversed(said)],
        [LOOK, LOOK, "<answer>B</answer>"],
        ["<answer>B</answer>"] * 3,
    ]
    try:
        first, info = vector.reset(seed=7)
        expected, _ = lone.reset(seed=7)
        seen = [first["text"]]
        assert tuple(first["text"]) == tuple(expected["text"])
        assert all(ODD in text for text in first["text"])
        for actions in rounds:
            observation, reward, terminated, truncated, info = vector.step(actions)
            want = lone.step(actions)
            assert tuple(observation["text"]) == tuple(want[0]["text"])
            assert np.array_equal(observation["image"], want[0]["image"])
            for got, wanted in zip((reward, terminated, truncated), want[1:4], strict=True):
                assert np.array_equal(got, wanted)
            seen.append(observation["text"])
        assert tuple(seen[1]) == tuple(said)
        assert all(ODD in text for text in seen[0])  # what was handed out no longer changes
        assert isinstance(info, dict)
    finally:
        vector.close()
        lone.close()


def test_gymnasium_makes_vectors_by_name() -> None:
    for mode, options in (("sync", {}), ("async", {}), ("async", {"context": "spawn"})):
        vector = gymnasium.make_vec(
            "medgym/Phantom-v0", num_envs=2, vectorization_mode=mode, vector_kwargs=options
        )
        try:
            vector.reset(seed=0)
            observation = vector.step([LOOK, "<answer>A</answer>"])[0]
            assert observation["text"][0].startswith("View 1: ")
            assert observation["text"][1] == ""
            assert observation["image"].shape == (2, 64, 64, 3)
        finally:
            vector.close()


def test_a_text_as_long_as_any_passes_shared_memory(odd_cases: list[Case]) -> None:
    vector = AsyncVectorEnv([lambda: make_odd(odd_cases)])
    try:
        vector.reset(seed=0)
        long = "ü" * 9000
        text = vector.step([render_call("echo", {"text": long})])[0]["text"][0]
        assert text == long[: len(text) - len(" [cut]")] + " [cut]"
        assert len(text) <= MAX_TEXT
    finally:
        vector.close()


# Odds and ends.


def test_a_tool_object_and_a_name_do_the_same() -> None:
    by_name = MedEnv("phantom:train[:5]", ["zoom"])
    by_object = MedEnv(open_cases("phantom:train[:5]"), [medgym.load("tools", "zoom")()])
    assert played(by_name, 0, [LOOK]) == played(by_object, 0, [LOOK])


def test_an_own_tool_may_want_the_workspace(odd_cases: list[Case]) -> None:
    @as_tool
    def whole(workspace: Workspace) -> ToolResult:
        """Shows all of it again."""
        view = workspace.look(0, workspace.view(0).box_px, enlarge=True, made_by="whole")
        return ToolResult("Here.", (view,))

    env = MedEnv(odd_cases, [whole], view_size=20)
    env.reset(seed=0)
    observation = env.step(render_call("whole", {}))[0]
    assert observation["text"] == "View 1: 40 x 30 pixels of image 0.\nHere."


def test_pictures_stand_side_by_side() -> None:
    sheet = contact_sheet([Image.new("RGB", (4, 6)), Image.new("RGB", (5, 2))], gap=1)
    assert sheet.size == (10, 6)
    assert contact_sheet([]).size == (1, 1)
