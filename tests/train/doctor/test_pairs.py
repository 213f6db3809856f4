"""`medgym doctor --pairs`: pairs whose images nobody sees are found before they train."""

import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl")

from PIL import Image

from medgym.cli import main
from medgym.commands.shared_options import cases_and_rules
from medgym.local_model import local_model
from medgym.messages import ImagePart
from medgym.policy import load_policy
from medgym.rollout import collect
from medgym.storage.run_folder import RunFolder
from medgym.train.data.preferences.build import build_pairs
from medgym.train.data.preferences.builder import Group, PairSource
from medgym.train.data.preferences.builders.crop import CropPairs
from medgym.train.data.preferences.builders.hallucination import HallucinationPairs
from medgym.train.data.preferences.builders.lesion_noise import LesionNoisePairs
from medgym.train.data.preferences.builders.wrong_image import WrongImagePairs
from medgym.train.data.preferences.exchange import exchanged_images, with_images
from medgym.train.data.preferences.folder import PairFolder
from medgym.train.data.preferences.pair import Pair, fault_of
from medgym.train.doctor.pairs import pair_sight, pairs
from medgym.train.doctor.subject import Subject
from medgym.train.models.checkpoint import load_model
from medgym.trajectory import validate
from tests.families import blind

SPEC = "phantom,look=radiograph,question=kind,size=256:train[:3]"


class Made:
    """A model, a run of the oracle in its tokens, and what builders make of it."""

    def __init__(self, tiny_folder: Path, folder: Path) -> None:
        self.model, self.processor = load_model(tiny_folder)
        self.cases, self.rules = cases_and_rules(SPEC, tools=["zoom"], max_turns=3, view_size=64)
        self.policy = local_model(self.model, self.processor)
        oracle = self.policy.imitating(load_policy("scripted:oracle"))
        self.run = RunFolder.create(folder / "run", {"command": "rollout"})
        self.right = list(collect(self.cases, oracle, self.rules, out=self.run, ordered=True))
        self.folder = folder
        self.source = PairSource(
            list(self.cases), self.run.images.get, self.keep, student=lambda: self.policy
        )

    def keep(self, image: Image.Image) -> str:
        return self.run.images.put(ImagePart(0, image))

    def built(self, *builders: Any) -> list[Pair]:
        found = []
        for builder in builders:
            builder.begin(self.source)
            for case, right in zip(self.cases, self.right, strict=True):
                found += builder.pairs(Group(case, (right,)), self.source)
        return found

    def stored(self, name: str, found: list[Pair]) -> PairFolder:
        return PairFolder.write(self.folder / name, found, self.run.images)

    def subject(self, folder: PairFolder, model: Any = None) -> Subject:
        return Subject(model or self.model, self.processor, self.cases, self.rules, pairs=folder)


@pytest.fixture(scope="module")
def made(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tiny_folder, tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def images_alone(made: Made) -> PairFolder:
    return made.stored("alone", made.built(CropPairs(which="views"), WrongImagePairs()))


@pytest.fixture(scope="module")
def words(made: Made) -> PairFolder:
    return made.stored("words", made.built(HallucinationPairs()))


def test_every_pair_has_its_features(
    made: Made, images_alone: PairFolder, words: PairFolder
) -> None:
    check = pairs(made.subject(images_alone))
    assert (check.verdict, check.figure["images only"]) == ("pass", 1.0)
    # Six pairs of two episodes, each of an overview and a view of 16 tokens.
    assert check.figure["placeholders"] == check.figure["features"] == 6 * 2 * 2 * 16
    assert pairs(made.subject(words)).figure["images only"] == 0.0


def test_words_are_put_into_the_tokens_of_the_student(made: Made, words: PairFolder) -> None:
    for pair in words:
        validate(pair.rejected)
        assert fault_of(pair) is None
        said = [side.nodes[-1].token_ids for side in (pair.chosen, pair.rejected)]
        assert made.policy.encode_reply(pair.chosen.nodes[-1].text) == said[0]
        assert said[0] != said[1]
        assert pair.chosen.gold is not None
        assert not pair.rejected.correct


def test_a_run_becomes_a_folder_of_pairs_that_the_doctor_passes(made: Made, tmp_path: Path) -> None:
    makes = ("crop,which=views", "wrong-image", "exchanged-view", "hallucination")
    folder = build_pairs(
        made.run.path, dict.fromkeys(makes, 1.0), list(made.cases), tmp_path / "pairs",
        student=lambda: made.policy,
    )  # fmt: skip
    assert folder.counts["pairs"] == dict.fromkeys(makes, 3)
    assert not folder.counts["dropped"]
    check = pairs(made.subject(folder))
    assert (check.verdict, check.figure["images only"]) == ("pass", 0.75)


def test_lesion_noise_of_phantoms_reaches_overview_and_view(made: Made) -> None:
    for case, right in zip(made.cases, made.right, strict=True):
        wrong = replace(right, correct=False, member=1)
        [pair] = LesionNoisePairs().pairs(Group(case, (right, wrong)), made.source)
        before, after = (
            [use.sha256 for node in side.nodes for use in node.images]
            for side in (wrong, pair.rejected)
        )
        assert all(one != other for one, other in zip(before, after, strict=True))


def test_exchanged_images_move_the_words(
    made: Made, images_alone: PairFolder, words: PairFolder
) -> None:
    for folder in (images_alone, words):
        check = pair_sight(made.subject(folder))
        assert check.verdict in ("pass", "warn")  # random weights hardly see
        assert check.figure["still"] == 0
        assert check.figure["exchanged"] > 0
        assert check.figure["image term"] != pytest.approx(math.log(2), abs=1e-9)


def test_a_model_that_ignores_images_is_found(
    made: Made, images_alone: PairFolder, words: PairFolder
) -> None:
    unseeing = blind(copy.deepcopy(made.model))
    for folder in (images_alone, words):
        check = pair_sight(made.subject(folder, unseeing))
        assert check.verdict == "fail"
        assert check.fix.startswith("the loss does not see images: the model ignores them")
        assert check.figure["image term"] == pytest.approx(math.log(2))
        assert check.figure["exchanged"] == 0


def test_pairs_of_blank_images_are_found(made: Made) -> None:
    """The image term on blank pairs: an exchange for blank images changes nothing."""
    found = []
    for pair in made.built(HallucinationPairs()):
        sides = [
            with_images(side, made_blank(side, made), made.keep)
            for side in (pair.chosen, pair.rejected)
        ]
        found.append(replace(pair, chosen=sides[0], rejected=sides[1]))
    check = pair_sight(made.subject(made.stored("blank", found)))
    assert (check.verdict, check.figure["one colour"]) == ("fail", 1.0)
    assert check.fix.startswith("the loss does not see images: those of the pairs are blank")
    assert check.figure["image term"] == pytest.approx(math.log(2))


def made_blank(side: Any, made: Made) -> dict[str, Image.Image]:
    return exchanged_images(
        side, which="all", how="blank", image=made.run.images.get, rng=np.random.default_rng(0)
    )


def other_size(made: Made, pair: Pair) -> Pair:
    """An image of another size than its placeholders stand for."""
    nodes = list(pair.rejected.nodes)
    small = made.keep(Image.new("RGB", (32, 64)))
    nodes[0] = replace(nodes[0], images=(replace(nodes[0].images[0], sha256=small),))
    return replace(pair, rejected=replace(pair.rejected, nodes=tuple(nodes)))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (other_size, "32 placeholders, 24 features"),
        (lambda made, pair: replace(pair, rejected=pair.chosen), "identical branches"),
    ],
)
def test_a_faulty_pair_is_named(
    made: Made, tmp_path: Path, change: Callable[[Made, Pair], Pair], error: str
) -> None:
    good, bad = made.built(WrongImagePairs())[:2]
    folder = PairFolder.write(tmp_path / "pairs", [good, change(made, bad)], made.run.images)
    check = pairs(made.subject(folder))
    assert (check.verdict, check.figure["error"], check.figure["at"]) == ("fail", error, 2)


def test_the_command_names_the_checks(
    tiny_folder: Path, words: PairFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    one = SPEC.replace("[:3]", "[:1]")
    asked = ["doctor", str(tiny_folder), "--cases", one, "--pairs", str(words.path), "--json"]
    main(asked)
    found = {each["check"]: each["verdict"] for each in json.loads(capsys.readouterr().out)}
    assert found["pairs"] == "pass"
    assert "pair sight" in found


def test_pairs_are_of_a_model(
    words: PairFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = ["doctor", "openai:http://127.0.0.1:1/v1#m", "--pairs", str(words.path)]
    assert main(engine) == 2
    assert "an engine learns from no pairs" in capsys.readouterr().err
