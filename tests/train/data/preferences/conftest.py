"""Hand-made groups of episodes in tokens, and runs of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from medgym.cases import Case, case_hash, open_cases
from medgym.messages import ImagePart
from medgym.metrics.regions import findings
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import ImageUse, Look, Node, Trajectory, hash_ids, validate

CASES = "phantom,look=radiograph,question=kind:train"
PLACEHOLDER = 5

Play = Callable[..., Trajectory]


def picture(number: int) -> ImagePart:
    """A small image that differs from the others."""
    return ImagePart(number, Image.new("L", (4, 4), number % 256))


def played(
    case: Case,
    member: int,
    *,
    right: bool = True,
    look: str = "",
    text: str = "",
    unreadable: bool = False,
    **changes: Any,
) -> Trajectory:
    """An episode of a case: a look (`hit` or `miss`) where one is asked for, then an answer."""
    said = text or ("right" if right else "wrong") + f" {member}"
    question = (PLACEHOLDER, PLACEHOLDER, 10, 11, 12)
    first = ImageUse(picture(0).sha256, 0, 2)
    nodes = [Node(-1, "user", "Question", question, (0,) * 5, (), (first,))]
    looks = []
    if look:
        box = findings(case)[0].box_px if look == "hit" else (0.0, 0.0, 1.0, 1.0)
        looks.append(Look("zoom", 0, box, 4.0))
        nodes.append(_reply(nodes, f"look {look}"))
        shown = ImageUse(picture(1 + member).sha256, 1, 2)
        nodes.append(Node(1, "tool", "View", (PLACEHOLDER,) * 2, (0, 0), (), (shown,)))
    nodes.append(_reply(nodes, said))
    made = Trajectory(
        case_id=case.id,
        policy="hf:model",
        seed=0,
        member=member,
        kind="sampled",
        nodes=tuple(nodes),
        vision_token_ids=(PLACEHOLDER,),
        answer=None if unreadable else (case.answer if right else "wrong"),
        correct=right and not unreadable,
        reward=1.1 if right and not unreadable else 0.1,
        terms={"answer": 1.0},
        terminated=True,
        looks=tuple(looks),
        calls=("zoom",) * len(looks),
        malformed=int(unreadable),
        case_hash=case_hash(case),
        **changes,
    )
    validate(made)
    return made


def _reply(nodes: Sequence[Node], text: str) -> Node:
    ids = tuple(100 + ord(character) for character in text)
    above = [i for node in nodes for i in node.token_ids]
    count = len(ids)
    return Node(
        len(nodes) - 1, "assistant", text, ids, (1,) * count, (-0.5,) * count, (), hash_ids(above)
    )


def stored(path: Path, trajectories: Sequence[Trajectory], cases: str = CASES) -> Path:
    """A finished run of these episodes, in two parts, with their images."""
    run = RunFolder.create(path, {"command": "rollout", "cases": cases})
    run.images.put(picture(0))
    for each in trajectories:
        for node in each.nodes[1:]:
            for _ in node.images:
                run.images.put(picture(1 + each.member))
    half = len(trajectories) // 2
    run.trajectories.write(trajectories[:half])
    run.trajectories.write(trajectories[half:])
    run.finish()
    return path


@pytest.fixture(scope="session")
def some_cases() -> list[Case]:
    """Six training cases with gold regions."""
    return list(open_cases(f"{CASES}[:6]"))


@pytest.fixture
def run(some_cases: list[Case], tmp_path: Path) -> Path:
    """A run of six cases of six episodes: one right and looking, one right, two that missed, one
    that is wrong without a look, one that cannot be read."""
    return stored(tmp_path / "run", [each for case in some_cases for each in group_of(case)])


def group_of(case: Case) -> list[Trajectory]:
    """Six episodes of a case."""
    return [
        played(case, 0, right=True, look="hit"),
        played(case, 1, right=True),
        played(case, 2, right=False, look="miss"),
        played(case, 3, right=False, look="miss"),
        played(case, 4, right=False),
        played(case, 5, unreadable=True),
    ]
