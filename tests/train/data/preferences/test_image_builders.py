"""Pairs that target seeing: builders whose rejected episode saw, or says, something else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from medgym.cases import Case, Region
from medgym.errors import UserError
from medgym.messages import Reply
from medgym.policy import Policy
from medgym.train.data.preferences.builder import Group, PairBuilder, PairSource
from medgym.train.data.preferences.builders.crop import CropPairs
from medgym.train.data.preferences.builders.exchanged_view import ExchangedViewPairs
from medgym.train.data.preferences.builders.hallucination import HallucinationPairs
from medgym.train.data.preferences.builders.knowledge_graph import KnowledgeGraphPairs
from medgym.train.data.preferences.builders.lesion_noise import LesionNoisePairs
from medgym.train.data.preferences.builders.wrong_image import WrongImagePairs
from medgym.train.data.preferences.coverage import coverage
from medgym.train.data.preferences.pair import Pair, fault_of
from medgym.train.data.preferences.rewording import reworded
from medgym.trajectory import validate
from tests.train.data.preferences.made_up import Played, play

LESION = Region(label="lesion", box_px=(12, 9, 18, 15))
LOOK = (280, 280, 480, 520)
"""Of the overview in thousandths: it shows the lesion and leaves room for another view."""

GRAPH = """
[views]
CT = ["one", "third"]
"two-chamber view" = ["other", "one"]
"""


@pytest.fixture
def right(tmp_path: Path) -> Played:
    return play(tmp_path, [LESION], [LOOK], said=["look", "<think>One.</think><answer>A</answer>"])


@pytest.fixture
def source(tmp_path: Path, right: Played) -> PairSource:
    other = play(tmp_path, [LESION], seed=1)
    case = other.case.model_copy(update={"answer": "other"})
    encode: Callable[[str], tuple[int, ...]] = lambda text: tuple(map(ord, text))  # noqa: E731
    vision = right.trajectory.vision_token_ids
    student: Any = SimpleNamespace(encode_reply=encode, vision_token_ids=vision, spec="hf:made")
    return PairSource(
        [right.case, case], right.images.__getitem__, right.keep, seed=0, student=lambda: student
    )


def wrong_of(played: Played) -> Any:
    """The same case answered wrong."""
    nodes = list(played.trajectory.nodes)
    nodes[-1] = replace(nodes[-1], text="<answer>B</answer>", token_ids=(90, 11))
    return replace(
        played.trajectory, nodes=tuple(nodes), answer="B", correct=False, reward=0.0, member=1
    )


def built(builder: PairBuilder, played: Played, source: PairSource, *more: Any) -> list[Pair]:
    builder.begin(source)
    found = list(builder.pairs(Group(played.case, (played.trajectory, *more)), source))
    for pair in found:
        for side in (pair.chosen, pair.rejected):
            validate(side)
        assert pair.builder == builder.name
        assert pair.rejected.kind == "demonstration"
        assert pair.margin == 1.0
    return found


def images(trajectory: Any) -> list[str]:
    return [use.sha256 for node in trajectory.nodes for use in node.images]


SAME_WORDS = {
    "crop": (CropPairs(), (True, True)),
    "crop views": (CropPairs(which="views"), (False, True)),
    "wrong-image": (WrongImagePairs(), (True, True)),
    "wrong-image overview": (WrongImagePairs(which="overview"), (True, False)),
    "exchanged-view": (ExchangedViewPairs(), (False, True)),
    "exchanged-view of a patient": (ExchangedViewPairs(of="patient"), (False, True)),
}


@pytest.mark.parametrize("name", SAME_WORDS)
def test_the_same_words_on_other_images(name: str, right: Played, source: PairSource) -> None:
    builder, exchanged = SAME_WORDS[name]
    [pair] = built(builder, right, source, wrong_of(right))
    assert pair.chosen is right.trajectory
    assert fault_of(pair) is None
    before, after = images(pair.chosen), images(pair.rejected)
    assert tuple(a != b for a, b in zip(before, after, strict=True)) == exchanged
    for one, other in zip(before, after, strict=True):
        assert right.images[one].size == right.images[other].size
    told = [[node.token_ids for node in side.nodes] for side in (pair.chosen, pair.rejected)]
    assert told[0] == told[1]
    [again] = built(builder, right, source)
    assert images(again.rejected) == after


def test_a_view_of_another_region_shows_no_finding(right: Played, source: PairSource) -> None:
    """The pixels of the picture are found in the original image, away from the lesion."""
    from medgym.imaging.study import open_image
    from medgym.workspace import Workspace

    [pair] = built(ExchangedViewPairs(), right, source)
    shown = np.asarray(right.images[images(pair.rejected)[1]])
    study = open_image(right.case.images[0])
    x0, y0, x1, y1 = right.trajectory.looks[0].box_px
    size = shown.shape[1], shown.shape[0]
    assert Workspace([study], view_size=16).views
    found = [
        (x, y)
        for x in range(40 - int(x1 - x0) + 1)
        for y in range(30 - int(y1 - y0) + 1)
        if (np.asarray(study.render((x, y, x + x1 - x0, y + y1 - y0), size)) == shown).all()
    ]
    assert len(found) == 1
    left, top = found[0]
    there = (left, top, left + x1 - x0, top + y1 - y0)
    assert not coverage([LESION], 0, there, size).any()


def test_what_cannot_be_exchanged_is_an_identical_pair(
    tmp_path: Path, right: Played, source: PairSource
) -> None:
    whole = play(tmp_path, [LESION], [(0, 0, 1000, 1000)], size=(40, 30))
    found = list(
        ExchangedViewPairs().pairs(
            Group(whole.case, (whole.trajectory,)), replace(source, image=whole.images.__getitem__)
        )
    )
    assert [fault_of(pair) for pair in found] == ["identical branches"]
    bare = right.case.model_copy(update={"regions": ()})
    group = Group(bare, (right.trajectory, wrong_of(right)))
    assert [fault_of(pair) for pair in LesionNoisePairs().pairs(group, source)] == [
        "identical branches"
    ]


def test_one_patient_has_no_wrong_image(right: Played, source: PairSource) -> None:
    alone = replace(source, cases=[right.case])
    for builder in (WrongImagePairs(), ExchangedViewPairs(of="patient")):
        with pytest.raises(UserError, match=r"of one; fix: give cases of two patients"):
            builder.begin(alone)
    ExchangedViewPairs().begin(alone)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CropPairs(which="viwes"),
        lambda: WrongImagePairs(which="none"),
        lambda: ExchangedViewPairs(of="patients"),
        lambda: LesionNoisePairs(xi=1.0),
    ],
)
def test_a_wrong_option_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(UserError):
        make()


def test_lesion_noise_rejects_wrong_words_on_noised_images(
    right: Played, source: PairSource
) -> None:
    wrong = wrong_of(right)
    [pair] = built(LesionNoisePairs(), right, source, wrong)
    assert pair.chosen is right.trajectory
    assert [node.text for node in pair.rejected.nodes] == [node.text for node in wrong.nodes]
    for old, new in zip(images(wrong), images(pair.rejected), strict=True):
        assert old != new
        assert right.images[old].size == right.images[new].size
    assert not list(LesionNoisePairs().pairs(Group(right.case, (right.trajectory,)), source))


class Writer(Policy):
    """Replies to each request with the same text."""

    spec = "made:writer"

    def __init__(self, text: str) -> None:
        self.text = text
        self.asked: list[Any] = []

    async def act(self, conversation: Any, sampling: Any) -> Reply:
        self.asked.append(conversation)
        return Reply(self.text)


def test_hallucination_keeps_the_looking(right: Played, source: PairSource) -> None:
    [pair] = built(HallucinationPairs(), right, source, wrong_of(right))
    assert fault_of(pair) is None
    assert pair.rejected.nodes[:-1] == tuple(
        replace(node, logprobs=()) for node in pair.chosen.nodes[:-1]
    )
    last = pair.rejected.nodes[-1]
    assert last.text == "<think>other.</think><answer>B</answer>"
    assert last.token_ids == tuple(map(ord, last.text))
    assert (pair.rejected.answer, pair.rejected.correct) == ("B", False)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("<answer>other</answer>", None),
        ("<answer>one</answer>", "identical branches"),
        ("no answer", "identical branches"),
    ],
)
def test_a_policy_writes_the_wrong_finding(
    right: Played, source: PairSource, said: str, fault: str | None
) -> None:
    builder = HallucinationPairs()
    builder._writer = Writer(said)
    group = Group(right.case, (right.trajectory,))
    [pair] = builder.pairs(group, source)
    assert fault_of(pair) == fault
    validate(pair.rejected)
    [[asked]] = builder._writer.asked
    assert "Right answer: one" in asked.text
    assert len(asked.images) == 1


def test_the_policy_that_writes_is_looked_for_at_the_beginning(source: PairSource) -> None:
    with pytest.raises(UserError, match="unknown policy 'nowhere'"):
        HallucinationPairs(policy="nowhere:x").begin(source)
    with pytest.raises(UserError, match="example"):  # a recipe may name no host by itself
        HallucinationPairs(policy="openai:http://example.org/v1#m").begin(source)


def test_words_need_a_model(right: Played, source: PairSource, tmp_path: Path) -> None:
    (tmp_path / "graph.toml").write_text(GRAPH)
    for builder in (HallucinationPairs(), KnowledgeGraphPairs(file=str(tmp_path / "graph.toml"))):
        with pytest.raises(UserError, match="no model is known"):
            built(builder, right, replace(source, student=None))


@pytest.mark.parametrize(
    ("text", "case", "expected"),
    [
        ("<answer>A</answer>", {}, "<answer>B</answer>"),
        ("<answer>One</answer>", {}, "<answer>other</answer>"),
        (
            "<think>one, not someone</think>\n<answer> a </answer>",
            {},
            "<think>other, not someone</think>\n<answer>B</answer>",
        ),
        (
            "<answer>a</answer>",
            {"options": ("a", "other"), "answer": "a"},
            "<answer>other</answer>",
        ),
        ("<answer>one</answer>", {"options": ()}, "<answer>other</answer>"),
        ("look", {}, None),
    ],
)
def test_reworded(right: Played, text: str, case: dict[str, Any], expected: str | None) -> None:
    assert reworded(text, right.case.model_copy(update=case), "other") == expected


def test_the_graph_says_what_a_view_cannot_show(
    right: Played, source: PairSource, tmp_path: Path
) -> None:
    file = tmp_path / "graph.toml"
    file.write_text(GRAPH)
    builder = KnowledgeGraphPairs(file=str(file))

    def seen(**about: Any) -> tuple[str, ...]:
        case: Case = right.case.model_copy(update=about)
        return builder.impossible(case)

    assert seen() == ()  # the graph does not know the view
    assert seen(modality="ct.") == ("other",)
    assert seen(body_part="two-chamber view") == ()
    assert seen(modality="CT", body_part="Two-chamber view") == ()
    assert seen(body_part="two-chamber view", options=()) == ("third",)
    assert seen(modality="CT", answer="other", options=()) == ()  # the graph denies the gold
    played = replace(right, case=right.case.model_copy(update={"modality": "CT"}))
    [pair] = built(builder, played, source)
    assert pair.rejected.nodes[-1].text == "<think>other.</think><answer>B</answer>"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("graph.toml", "views = 3"),
        ("graph.toml", "[views]\nCT = 'one'"),
        ("graph.toml", "views = ["),
        ("graph.json", "{"),
        ("graph.json", "[1]"),
    ],
)
def test_a_file_that_is_no_graph_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match="fix:"):
        KnowledgeGraphPairs(file=str(tmp_path / name))
    with pytest.raises(UserError, match="no such knowledge graph"):
        KnowledgeGraphPairs(file=str(tmp_path / "none.toml"))


def test_words_are_not_put_into_tokens_of_another_tokenizer(
    right: Played, source: PairSource
) -> None:
    other = replace(right.trajectory, vision_token_ids=(8,))
    with pytest.raises(UserError, match="in other tokens than hf:made writes"):
        list(HallucinationPairs().pairs(Group(right.case, (other,)), source))
