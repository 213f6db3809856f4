"""The rules of play: nothing that a policy writes raises, and every refusal says what was expected.

The fuzz plays 20,000 actions: well-formed replies, mutated ones and plain noise. Where it fails it
prints the action, and `repr` of that is all that is needed to play it again.
"""

import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medgym.cases import Case, CaseView, open_cases
from medgym.env import MedEnv
from medgym.episode import Episode, Rules
from medgym.errors import ToolError, UserError
from medgym.failures import Failure
from medgym.imaging.study import ImageRef, Study
from medgym.instructions import instructions
from medgym.messages import (
    MAX_TEXT,
    Calls,
    Malformed,
    Reply,
    parse_action,
    render_answer,
    render_call,
)
from medgym.metrics.looking import metrics
from medgym.registry import names
from medgym.rollout.record import looks_of, record
from medgym.rubric import Rubric, Term
from medgym.tool import Tool, ToolArgs, ToolResult, as_tool, load_tools
from medgym.workspace import View, Workspace

ACTIONS = 20_000
TOOLS = ("crop", "retrieve", "segment", "zoom")


def a_case(**fields: Any) -> Case:
    given = {"id": "a/train/0", "images": (ImageRef(uri="a:0"),), "question": "Which?"}
    given |= {"options": ("no", "yes"), "answer": "yes", "answer_type": "choice"}
    return Case(**{**given, "group": "g", "source": "a", "split": "train", **fields})


def a_study(width: int = 40, height: int = 30) -> Study:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    return Study(pixels.astype(np.uint8))


def begin(*tools: str | Tool, case: Case | None = None, **rules: Any) -> Episode:
    given = Rules(tools=load_tools(tools), **{"view_size": 16, **rules})
    return given.begin(case or a_case(), [a_study()])


LOOK = render_call("zoom", {"view": 0, "box": [0, 0, 500, 500]})


# The conversation.


def test_a_conversation_is_system_question_reply_and_views() -> None:
    episode = begin("zoom")
    assert [m.role for m in episode.messages] == ["system", "user"]
    assert episode.messages[1].text == (
        "View 0: image 0, 40 x 30 pixels.\nQuestion: Which?\nOptions:\nA. no\nB. yes"
    )
    said = episode.step(f"<think>hm</think>{LOOK}")
    assert said is episode.messages[-1]
    assert said is not None
    assert (said.role, said.text) == ("tool", "View 1: 20 x 15 pixels of image 0.")
    assert [part.view for part in said.images] == [1]
    assert episode.step("<answer>B</answer>") is None
    assert [m.role for m in episode.messages][2:] == ["assistant", "tool", "assistant"]
    assert (episode.answer, episode.terminated, episode.truncated) == ("B", True, False)
    assert episode.score is not None
    assert episode.score.correct


def test_context_priors_and_several_images_are_shown() -> None:
    images = (ImageRef(uri="a:0"), ImageRef(uri="a:1", role="prior"))
    episode = Rules(view_size=16).begin(
        a_case(images=images, context="Cough.", options=()), [a_study(), a_study(10, 10)]
    )
    assert episode.messages[1].text == (
        "View 0: image 0, 40 x 30 pixels.\nView 1: image 1, prior, 10 x 10 pixels.\n"
        "Context: Cough.\nQuestion: Which?"
    )
    assert len(episode.messages[1].images) == 2


def test_a_case_may_show_regions_from_the_start_and_none_of_them_counts_as_a_look() -> None:
    views = (CaseView(image=1, box_px=(10, 5, 30, 25), by="surgeon"),)
    case = a_case(images=(ImageRef(uri="a:0"), ImageRef(uri="a:1")), views=views)
    episode = Rules(tools=load_tools(["zoom"])).begin(case, [a_study(), a_study()])
    question = episode.messages[1]
    assert "View 2: 20 x 20 pixels of image 1. Shown by: surgeon." in question.text
    assert [part.view for part in question.images] == [0, 1, 2]
    whole, shown = episode.workspace.views[1:]
    there = np.asarray(whole.picture)[5:25, 10:30].mean()
    assert np.asarray(shown.picture).mean() == pytest.approx(there, abs=1)
    assert max(shown.size) == episode.workspace.view_size
    answer = episode.step(render_call("zoom", {"view": 2, "box": [0, 0, 500, 500]}))
    assert answer is not None
    assert episode.workspace.views[3].box_px == (10, 5, 20, 15)
    assert [look.box_px for look in looks_of(episode)] == [(10, 5, 20, 15)]


@pytest.mark.parametrize(
    ("image", "box"),
    [(1, (0, 0, 4, 4)), (0, (0, 0, 41, 30)), (0, (4, 4, 4, 9)), (-1, (0, 0, 1, 1))],
)
def test_a_view_that_does_not_lie_in_the_case_is_the_users_error(image: int, box: Any) -> None:
    case = a_case(views=(CaseView(image=image, box_px=box),))
    with pytest.raises(UserError, match=r"a view of a/train/0: .*; fix"):
        Rules().begin(case, [a_study()])


def test_four_calls_in_a_reply_are_answered_in_one_message() -> None:
    episode = begin("zoom", "crop")
    bad = render_call("zoom", {"view": 9, "box": [0, 0, 1, 1]})
    said = episode.step(LOOK + bad + LOOK + render_call("peek", {}))
    assert said is not None
    assert [part.view for part in said.images] == [1, 2]
    lines = said.text.splitlines()
    assert lines[0].startswith("View 1: ")
    assert lines[1].startswith("Error: there is no view 9; expected 0 to 1")
    assert lines[2].startswith("View 2: ")
    assert lines[3] == "Error: there is no tool 'peek'; expected one of zoom, crop."
    assert [o.failed for o in episode.turns[0].outcomes] == [False, True, False, True]


def test_a_later_call_of_a_reply_sees_the_views_of_the_earlier_ones() -> None:
    episode = begin("zoom")
    episode.step(LOOK + render_call("zoom", {"view": 1, "box": [0, 0, 500, 1000]}))
    assert [view.box_px for view in episode.workspace.views[1:]] == [(0, 0, 20, 15), (0, 0, 10, 15)]


def test_without_tools_a_call_is_told_to_answer() -> None:
    episode = begin()
    assert "Tools" not in episode.messages[0].text
    said = episode.step(LOOK)
    assert said is not None
    assert said.text == "Error: there is no tool 'zoom'; expected an answer."


@pytest.mark.parametrize("coordinates", ["thousandths", "pixel"])
def test_the_instructions_name_every_tool_and_the_frame(coordinates: Any) -> None:
    text = instructions(load_tools(TOOLS), coordinates)
    for name in TOOLS:
        assert f'{{"name": "{name}", ' in text
    assert ("in thousandths of its view" in text) == (coordinates == "thousandths")
    assert ("in pixels of its view" in text) == (coordinates == "pixel")


# The end.


def test_the_last_turn_truncates_and_pays_nothing() -> None:
    episode = begin("zoom", max_turns=2)
    assert episode.step(LOOK) is not None
    assert episode.step(LOOK) is None
    assert (episode.terminated, episode.truncated) == (False, True)
    assert episode.score is not None
    assert episode.score.total == 0
    with pytest.raises(RuntimeError, match="over"):
        episode.step("<answer>B</answer>")


def test_an_answer_in_the_last_turn_counts() -> None:
    episode = begin("zoom", max_turns=1)
    assert episode.step("<answer>B</answer>") is None
    assert (episode.terminated, episode.truncated) == (True, False)


def test_the_token_budget_truncates_when_it_is_overspent() -> None:
    episode = begin("zoom", max_tokens=10)
    episode.spend(10)
    assert episode.step(LOOK) is not None
    episode.spend(1)
    assert episode.step(LOOK) is None
    assert episode.truncated
    answered = begin("zoom", max_tokens=10)
    answered.spend(99)
    answered.step("<answer>B</answer>")
    assert answered.terminated
    assert not answered.truncated


def test_what_a_cut_reply_said_is_malformed_and_play_goes_on() -> None:
    episode = begin("zoom")
    said = episode.step(Reply(LOOK[:-5], cut=True))
    assert said is not None
    assert said.text.startswith("Error: ")
    assert isinstance(episode.turns[0].action, Malformed)


def test_a_reply_that_was_cut_inside_its_thought_is_told_so_and_recorded() -> None:
    case, episode = a_case(), begin("zoom")
    said = episode.step(Reply("<think>It may be <answer>B</answer>", cut=True))
    assert said is not None
    assert said.text.startswith("Error: the token limit cut the reply inside its thought; expected")
    assert (episode.answer, episode.terminated) == (None, False)
    episode.step("<answer>B</answer>")
    told = record(case, episode, policy="p", seed=0, member=0, kind="text")
    assert told.faults == ("cut",)
    assert told.malformed == 1
    assert metrics([(case, told)])["episode/cut"] == 1.0


# What could break files or leave the observation space.


def test_lone_surrogates_end_at_the_door() -> None:
    class Echo(Tool):
        """Says it again."""

        name = "echo"

        class Args(ToolArgs):
            text: str

        def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
            return ToolResult(args.text + "\udc00")

    episode = begin(Echo())
    for reply in ("\ud800", render_call("echo", {"text": "x"}), '<answer>\ud800"</answer>'):
        episode.step(reply)
    for message in episode.messages:
        message.text.encode("utf-8")
    assert episode.messages[-2].text == "x?"
    assert episode.answer == '?"'


def test_long_texts_of_tools_are_cut() -> None:
    @as_tool
    def talk(words: int) -> str:
        """Talks."""
        return "w" * words

    episode = begin(talk)
    said = episode.step(render_call("talk", {"words": 10**6}) * 4)
    assert said is not None
    assert len(said.text) <= MAX_TEXT
    assert said.text.count("[cut]") >= 3


def test_a_long_error_of_a_tool_is_cut() -> None:
    @as_tool
    def fail(words: int) -> str:
        """Fails."""
        raise ToolError("w" * words)

    said = begin(fail).step(render_call("fail", {"words": 10**6}) * 4)
    assert said is not None
    assert len(said.text) <= MAX_TEXT


def test_a_reply_over_the_limit_is_kept_only_to_the_limit() -> None:
    long, ids = "<answer>" + "A" * 10**6 + "</answer>", tuple(range(40))
    said = Reply(long, prompt_ids=(1,), token_ids=ids, logprobs=(0.0,) * 40)
    episode = begin("zoom", max_turns=3)
    shown = episode.step(said)
    assert shown is not None
    assert shown.text.startswith("Error: the reply has over 16384 characters; expected ")
    kept = episode.messages[2]
    assert kept.text.startswith(long[:MAX_TEXT])
    assert kept.text.endswith(" [cut: the reply has 1000017 characters]")
    assert len(kept.text) < MAX_TEXT + 60
    assert kept.reply is not None
    assert kept.reply.text == episode.turns[0].reply == kept.text
    assert (kept.reply.token_ids, kept.reply.logprobs) == (ids, said.logprobs)  # as sampled
    episode.step(kept.reply)  # what is shortened already stays as it is
    assert episode.messages[4].text == kept.text
    fits = Reply("A" * MAX_TEXT)
    episode.step(fits)
    assert episode.messages[6].reply is fits
    for turn in episode.turns[:2]:
        for action in (turn.action, parse_action(turn.reply)):
            assert isinstance(action, Malformed)
            assert action.kind == "length"


def test_a_fault_in_a_tool_is_not_taken_for_the_policys() -> None:
    @as_tool
    def broken(x: int) -> str:
        """Breaks."""
        return str(1 / 0)

    with pytest.raises(Failure, match="tool: broken raised ZeroDivisionError at test_episode"):
        begin(broken).step(render_call("broken", {"x": 1}))


def test_a_view_that_shows_too_much_is_the_tools_fault() -> None:
    @as_tool
    def poster(workspace: Workspace) -> ToolResult:
        """Shows more than a view may."""
        picture = Image.new("RGB", (17, 4))
        return ToolResult(views=(View(-1, 0, (0, 0, 40, 30), picture, "poster"),))

    with pytest.raises(Failure, match=r"tool: poster made a view of .* 1 to 16 pixels"):
        begin(poster).step(render_call("poster", {}))


def test_what_does_not_fit_into_an_observation_is_refused_at_the_start() -> None:
    room = MAX_TEXT - len(begin().messages[0].text) - len(begin().messages[1].text)
    fits = begin(case=a_case(question="Which?" + "x" * (room - 2)))
    assert sum(len(m.text) for m in fits.messages) + 2 == MAX_TEXT
    with pytest.raises(UserError, match="characters"):
        begin(case=a_case(question="Which?" + "x" * (room - 1)))
    with pytest.raises(UserError, match="over 26 options"):
        begin(case=a_case(options=tuple(map(str, range(27)))))


# 20,000 actions.


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> MedEnv:
    """Two small images, every tool there is, and observations that are quick to make."""
    folder = tmp_path_factory.mktemp("images")
    refs = []
    for name, (width, height) in {"a": (48, 40), "b": (9, 64)}.items():
        Image.fromarray(a_study(width, height).pixels).save(folder / f"{name}.png")
        refs.append(ImageRef(uri=(folder / f"{name}.png").as_uri()))
    tools = [name for name in TOOLS if name in names("tools")]
    return MedEnv([a_case(images=tuple(refs))], tools, max_turns=40, view_size=24)


def well_formed(draw: random.Random) -> str:
    """A reply as a policy should write it, with arguments that are often right."""
    think = draw.choice([None, None, "", "hm", "two\nlines", "<answer>A</answer>"])
    if draw.random() < 0.1:
        return render_answer(draw.choice(["A", "B", "yes", "neither", "C.", "é"]), think)
    calls = []
    for _ in range(draw.choice([1, 1, 1, 2, 4, 5])):
        x, y = (sorted(draw.choices(range(1001), k=2)) for _ in (0, 1))
        box = draw.choice([[x[0], y[0], x[1], y[1]]] * 6 + [[0, 0, 1000, 1000], [0, 0, 1, 1], [1]])
        given: dict[str, Any] = {"view": draw.choice([0, 0, 0, 1, 2, 3, -1, 99]), "box": box}
        if draw.random() < 0.2:
            given[draw.choice(["query", "point", "label", "k", "x"])] = draw.choice(ODD)
        name = draw.choice(["zoom"] * 6 + ["crop"] * 6 + ["segment", "retrieve", "peek", ""])
        if name == "retrieve" and draw.random() < 0.5:
            given = {"query": draw.choice(["lesion", "", "stripes " * 9, "\x00", "é"])}
        calls.append(render_call(name, given))
    return (f"<think>{think}</think>" if think is not None else "") + "".join(calls)


ODD: list[Any] = [
    None, True, 0, -1, 1.5, -0.0, 1e308, 10**30, "", "x", "é", "\x00", [], [[]], {}, [0] * 9,
]  # fmt: skip

PIECES = (
    "<think>", "</think>", "<tool_call>", "</tool_call>", "<answer>", "</answer>", "{", "}", "[",
    "]", '"', "\\", ",", ":", " ", "\n", "\x00", "\ufeff", "\u2028", "\ud800", '"\\ud800"',
    "NaN", "-Infinity", "1e999", "9" * 30, "9" * 400, "9" * 5000, "-1", "1e-7", "true", "\u0661",
    '{"name": "zoom", "arguments": ', '"view": 0', '"box": ', '"arguments": {}', "<|image_pad|>",
    "[" * 3000, '{"a":' * 2000, "<think>" * 50, "x" * 100_000, "[" * 100_000, "𝄞", "\U0010ffff",
)  # fmt: skip


def splice(draw: random.Random, text: str) -> str:
    other = well_formed(draw)
    return text[: draw.randint(0, len(text))] + other[draw.randint(0, len(other)) :]


def delete(draw: random.Random, text: str) -> str:
    start = draw.randint(0, len(text))
    return text[:start] + text[start + draw.choice([1, 1, 3, 20]) :]


def duplicate(draw: random.Random, text: str) -> str:
    start = draw.randint(0, len(text))
    end = start + draw.choice([1, 5, 40, 200])
    return text[:end] + text[start:end] * draw.choice([1, 2, 30]) + text[end:]


def insert(draw: random.Random, text: str) -> str:
    at = draw.randint(0, len(text))
    return text[:at] + draw.choice(PIECES) + text[at:]


def replace(draw: random.Random, text: str) -> str:
    at = draw.randint(0, len(text))
    letter = chr(draw.choice([draw.randint(0, 127), draw.randint(0, 0x10FFFF)]))
    return text[:at] + letter + text[at + 1 :]


def number(draw: random.Random, text: str) -> str:
    """Another value where a number stands."""
    found = list(re.finditer(r"\d+", text[:500]))
    if not found:
        return text
    start, end = draw.choice(found).span()
    other = draw.choice(["-1", "1e9", "null", '"0"', "0.5", "9" * 25, "[0]", str(draw.random())])
    return text[:start] + other + text[end:]


MUTATIONS: tuple[Callable[[random.Random, str], str], ...] = (
    splice, delete, duplicate, insert, replace, number,
)  # fmt: skip


def noise(draw: random.Random) -> str:
    return "".join(draw.choice(PIECES) for _ in range(draw.randint(0, 6)))


def actions(seed: int, count: int) -> Iterator[str]:
    """Well-formed replies (a third), mutated ones, and noise (one in twenty)."""
    draw = random.Random(seed)
    for _ in range(count):
        kind = draw.random()
        text = well_formed(draw) if kind < 0.95 else noise(draw)
        if kind > 0.33:
            for _ in range(draw.choice([1, 1, 1, 2, 4])):
                text = draw.choice(MUTATIONS)(draw, text)
        yield text


def check(env: MedEnv, action: str) -> None:
    """Play one action; the observation belongs to the space, and a refusal helps."""
    observation, reward, terminated, truncated, info = env.step(action)
    assert env.observation_space.contains(observation)
    assert 0 <= reward <= 1.1 + 1e-9
    for line in observation["text"].split("\n"):
        if line.startswith("Error: "):
            assert "expected" in line, line
    assert env.episode is not None
    for view in env.episode.workspace.views:
        assert max(view.size) <= env.rules.view_size
    assert isinstance(terminated, bool)
    assert isinstance(truncated, bool)
    if terminated or truncated:
        assert set(info["score"]) == {"answer", "format"}
        env.reset()


def test_twenty_thousand_actions_never_raise(env: MedEnv) -> None:
    env.reset(seed=0)
    read = {Calls: 0, Malformed: 0}
    for count, action in enumerate(actions(seed=0, count=ACTIONS)):
        before = env.episode
        try:
            check(env, action)
        except BaseException as error:
            shown = f"{action[:2000]!r}" + (f"... ({len(action)})" if len(action) > 2000 else "")
            raise AssertionError(f"action {count} failed: {shown}") from error
        assert before is not None
        kind = type(before.turns[-1].action)
        if kind in read:
            read[kind] += 1
    # It does not fuzz the parser alone: many of them reach a tool.
    assert read[Calls] > ACTIONS / 5
    assert read[Malformed] > ACTIONS / 5


@given(
    st.lists(
        st.one_of(
            st.text(st.characters()),
            st.sampled_from(PIECES[:20]),
            st.builds(
                render_call,
                st.sampled_from([*TOOLS, "peek"]),
                st.fixed_dictionaries(
                    {},
                    optional={
                        "view": st.integers() | st.floats() | st.none(),
                        "box": st.lists(st.floats() | st.integers(), min_size=3, max_size=5),
                        "query": st.text(max_size=20),
                    },
                ),
            ),
        ),
        max_size=3,
    )
)
def test_no_action_raises(env: MedEnv, parts: list[str]) -> None:
    env.reset(seed=0)
    check(env, "".join(parts))


@given(
    st.sampled_from(["zoom", "crop"]),
    st.lists(st.tuples(*[st.floats(0, 1000)] * 4), min_size=1, max_size=4),
)
def test_chains_of_looks_never_raise(env: MedEnv, name: str, boxes: list[Any]) -> None:
    """Looks into looks down to less than a pixel: `view` is the newest each time."""
    env.reset(seed=0)
    newest = 0
    for edges in boxes:
        x, y = sorted(edges[:2]), sorted(edges[2:])
        check(env, render_call(name, {"view": newest, "box": [x[0], y[0], x[1], y[1]]}))
        assert env.episode is not None
        newest = len(env.episode.workspace.views) - 1


def test_the_fuzz_draws_what_it_should() -> None:
    drawn = list(actions(seed=1, count=3000))
    assert any(len(text) > 100_000 for text in drawn)
    assert any("\ud800" in text for text in drawn)
    assert any("\x00" in text for text in drawn)
    assert any("NaN" in text for text in drawn)
    assert drawn == list(actions(seed=1, count=3000))


def test_rules_for_cases_find_the_view_size_and_load_what_is_named() -> None:
    rules = Rules.for_cases("phantom:train[:3]", tools=["crop"], rubric="vitar", max_turns=2)
    assert rules.view_size == open_cases("phantom:train").view_size == 64
    assert [tool.name for tool in rules.tools] == ["crop"]
    assert (rules.rubric.name, rules.max_turns) == ("vitar", 2)
    assert Rules.for_cases("phantom:train", view_size=32).view_size == 32
    assert Rules.for_cases([a_case()]).view_size == 448  # cases that do not say
    filtered = [case for case in open_cases("phantom:train[:3]") if case.regions]
    assert Rules.for_cases(filtered).view_size == 64, "as their source asks for"
    plain = Rules.for_cases([a_case()])
    assert [tool.name for tool in plain.tools] == ["zoom"]
    assert plain.rubric.name == "outcome"


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        ("phantom:test[5:5]", "'phantom:test\\[5:5\\]' names no case; fix: widen the slice"),
        (7, "cannot read cases from a int"),
        (["phantom:test"], "cannot read cases from a list"),
    ],
)
def test_what_is_no_case_is_refused(cases: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Rules.for_cases(cases)


# What a policy reads, word for word: training depends on every byte of it.


@pytest.mark.parametrize(
    ("coordinates", "frame"),
    [
        ("thousandths", "in thousandths of its view (0 to 1000)"),
        ("pixel", "in pixels of its view"),
    ],
)
def test_the_instructions_are_these(coordinates: Any, frame: str) -> None:
    tools = load_tools(["zoom", "crop"])
    schemas = [json.dumps(tool.schema(), ensure_ascii=False) for tool in tools]
    assert instructions(tools, coordinates) == (
        "Answer the question about the images. Views of them are numbered from 0.\n"
        f"A box is [x0, y0, x1, y1] {frame}, from the top left.\n"
        f"Tools:\n{schemas[0]}\n{schemas[1]}\n"
        'Reply <tool_call>{"name": ..., "arguments": {...}}</tool_call>, up to 4 in a reply, '
        "to use tools. Reply <answer>...</answer> to answer; of options, give the letter. You may "
        "write <think>...</think> first. Never call and answer in one reply."
    )
    assert instructions((), coordinates) == (
        "Answer the question about the images.\nReply <answer>...</answer> to answer; of options, "
        "give the letter. You may write <think>...</think> first."
    )


def test_a_prompt_stands_before_the_instructions() -> None:
    assert Rules(prompt="You are a radiologist.").instructions == (
        f"You are a radiologist.\n{instructions(())}"
    )
    assert Rules(coordinates="pixel").instructions == instructions((), "pixel")


def test_an_episode_that_must_end_is_truncated_and_scored() -> None:
    term = Term("named", 1.0, lambda case, played: float(case.id == "a/train/0" and played.done))
    episode = begin("zoom", rubric=Rubric("named", (term,)))
    episode.step(LOOK)
    assert not episode.done
    episode.truncate()
    assert (episode.done, episode.truncated, episode.terminated) == (True, True, False)
    assert episode.score is not None
    assert (dict(episode.score.terms), episode.score.correct) == ({"named": 1.0}, False)


def test_the_text_of_a_tool_follows_the_captions_of_its_views_and_is_cut_at_its_share() -> None:
    @as_tool
    def talk(words: int, workspace: Workspace) -> ToolResult:
        """Talks."""
        view = workspace.look(0, (0, 0, 4, 2), enlarge=False, made_by="talk")
        return ToolResult("w" * words, (view,), {"words": words})

    caption = "View 1: 4 x 2 pixels of image 0.\n"
    share = MAX_TEXT // 4
    for words, tail in ((3, "www"), (share - len(caption), "w" * (share - len(caption)))):
        said = begin(talk).step(render_call("talk", {"words": words}))
        assert said is not None
        assert said.text == caption + tail
    episode = begin(talk)
    said = episode.step(render_call("talk", {"words": share}))
    assert said is not None
    assert len(said.text) == share
    assert said.text == (caption + "w" * share)[: share - 6] + " [cut]"
    (outcome,) = episode.turns[0].outcomes
    assert (outcome.data, outcome.fault, outcome.failed) == ({"words": share}, None, False)


def test_a_refused_call_says_why_and_a_malformed_reply_what_was_expected() -> None:
    episode = begin("zoom")
    said = episode.step(render_call("zoom", {"view": 3, "box": [0, 0, 9, 9]}))
    assert said is not None
    assert said.text == "Error: there is no view 3; expected 0 to 0."
    (outcome,) = episode.turns[0].outcomes
    assert (outcome.fault, outcome.failed, outcome.views) == ("value", True, ())
    said = episode.step("B")
    assert said is not None
    assert (said.role, said.images) == ("tool", ())
    assert said.text == (
        "Error: cannot read the reply; expected <tool_call>{...}</tool_call> (one to four) or "
        "<answer>...</answer>, after an optional <think>...</think>, and nothing else."
    )
    said = episode.step(render_call("x" * 50, {}))
    assert said is not None
    assert said.text == f"Error: there is no tool '{'x' * 40}'; expected one of zoom."
    assert episode.turns[2].outcomes[0].fault == "name"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"tools": ["zoom"]}, "Rules take Tool objects"),
        ({"tools": "zoom"}, "Rules take Tool objects"),
        ({"rubric": "grounded"}, "Rules take a Rubric, not 'grounded'"),
        ({"tools": [*load_tools(["zoom"]), *load_tools(["zoom"])]}, "'zoom' is given twice"),
        ({"max_turns": 0}, "max_turns is 0; fix: allow"),
        ({"coordinates": "pixels"}, "unknown coordinates 'pixels'; did you mean 'pixel'"),
    ],
)
def test_rules_refuse_what_cannot_be_played_by(given: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        Rules(**given)
