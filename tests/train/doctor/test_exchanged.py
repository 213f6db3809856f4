"""A model that learned from exchanged images is told from one that learned nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from medgym.cases import Case
from medgym.episode import Rules
from medgym.imaging.study import ImageRef
from medgym.local_model import local_model
from medgym.policy import load_policy
from medgym.rollout import collect
from medgym.train.doctor.checks import Check
from medgym.train.doctor.sight import sees
from medgym.train.doctor.subject import Subject
from medgym.train.models.checkpoint import load_model
from medgym.train.sft.trainer import supervised
from medgym.trajectory import Trajectory

OPTIONS = ("dark", "bright")


def cases_in(folder: Path) -> list[Case]:
    """Ten patients with an image each, which is dark or bright."""
    made = []
    for number in range(10):
        level = 20 + 4 * number if number % 2 == 0 else 235 - 4 * number
        path = folder / f"{number}.png"
        Image.new("RGB", (64, 64), (level,) * 3).save(path)
        made.append(
            Case(
                id=f"levels/train/{number}", images=(ImageRef(uri=path.as_uri()),),
                question="Which?", options=OPTIONS, answer=OPTIONS[number % 2],
                answer_type="choice", group=str(number), source="levels", split="train",
            )
        )  # fmt: skip
    return made


def shows(trajectory: Trajectory, images: Any) -> Trajectory:
    """The same words with another one's images."""
    rest = iter(images)
    nodes = tuple(
        replace(node, images=tuple(replace(use, sha256=next(rest)) for use in node.images))
        for node in trajectory.nodes
    )
    return replace(trajectory, nodes=nodes)


def learned(tiny_folder: Path, folder: Path, *, exchanged: bool) -> Check:
    """What the doctor says of the sight of a model that learned to tell dark from bright."""
    model, processor = load_model(tiny_folder)
    cases, rules = cases_in(folder), Rules(view_size=64, max_turns=1)
    policy = local_model(model, processor).imitating(load_policy("scripted:oracle"))
    pictures: dict[str, Image.Image] = {}

    def keep(messages: Any) -> None:
        pictures.update((part.sha256, part.image) for m in messages for part in m.images)

    shown = list(collect(cases, policy, rules, seed=1, on_messages=keep, ordered=True))
    if exchanged:
        others = [*shown[1:], shown[0]]
        shown = [shows(a, b.image_hashes) for a, b in zip(shown, others, strict=True)]
    model = supervised(
        model,
        processor,
        shown,
        pictures.__getitem__,
        {"max_steps": 15, "per_device_train_batch_size": 10, "learning_rate": 5e-3},
        seed=0,
        parts=("language", "vision", "projector"),
    )
    return sees(Subject(model.eval(), processor, cases, rules))


@pytest.mark.parametrize(("exchanged", "verdict"), [(True, "fail"), (False, "pass")])
def test_what_learned_from_exchanged_images_fails(
    exchanged: bool, verdict: str, tiny_folder: Path, tmp_path: Path
) -> None:
    check = learned(tiny_folder, tmp_path, exchanged=exchanged)
    print(check)
    assert check.verdict == verdict
    assert ("speak against the right answers" in check.fix) == exchanged
