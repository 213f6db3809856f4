"""An episode of a made-up case, with its pictures: an overview and a chain of zooms."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from medgym.cases import Case, Region
from medgym.imaging.lazy_image import image_hash
from medgym.imaging.study import Box, ImageRef, Study
from medgym.trajectory import ImageUse, Look, Node, Trajectory, hash_ids
from medgym.workspace import Workspace

PAD = 7
"""The placeholder of an image."""


@dataclass
class Played:
    """A case, an episode of it, and the images by content hash."""

    case: Case
    trajectory: Trajectory
    images: dict[str, Image.Image]

    def keep(self, image: Image.Image) -> str:
        """Stores an image as a source does."""
        name = image_hash(image)
        self.images[name] = image
        return name


def play(
    folder: Path,
    regions: Sequence[Region] = (),
    boxes: Sequence[Box] = (),
    *,
    size: tuple[int, int] = (40, 30),
    view_size: int = 16,
    seed: int = 0,
    said: Sequence[str] | None = None,
) -> Played:
    """An episode that zooms, each time into the view before; the case's image is in the folder."""
    # Neither black nor white, so that noise shows.
    pixels = np.random.default_rng(seed).integers(60, 200, (size[1], size[0])).astype(np.uint8)
    path = folder / f"{seed}-{size[0]}x{size[1]}.png"
    if not path.exists():
        Image.fromarray(pixels).save(path)
    case = Case(
        id=f"made/train/{seed}",
        images=(ImageRef(uri=path.as_uri()),),
        question="Which?",
        options=("one", "other"),
        answer="one",
        answer_type="choice",
        regions=tuple(regions),
        group=str(seed),
        source="made",
        split="train",
    )
    workspace = Workspace([Study(pixels)], view_size=view_size)
    for place, box in enumerate(boxes):
        box_px = workspace.box_px(place, box)
        view = workspace.look(0, box_px, enlarge=True, made_by="zoom")
        workspace.add(view)
    images: dict[str, Image.Image] = {}
    nodes: list[Node] = []
    replies = said or (*("look" for _ in boxes), "<answer>A</answer>")
    for view, reply in zip(workspace.views, replies, strict=True):
        name = image_hash(view.picture)
        images[name] = view.picture
        role = "tool" if nodes else "user"
        ids = (1, PAD, PAD, 2)
        use = ImageUse(name, view.number, 2)
        nodes.append(Node(len(nodes) - 1, role, "see", ids, (0,) * 4, images=(use,)))
        held = [token for node in nodes for token in node.token_ids]
        own = (10 + len(reply), 11)
        nodes.append(
            Node(
                len(nodes) - 1, "assistant", reply, own, (1, 1), (-0.5, -0.5),
                prompt_hash=hash_ids(held),
            )
        )  # fmt: skip
    trajectory = Trajectory(
        case.id, "hf:made", 0, 0, "sampled", tuple(nodes), (PAD,), answer="A", correct=True,
        reward=1.0, terms={}, terminated=True,
        looks=tuple(Look("zoom", v.image, v.box_px, 2.0) for v in workspace.views[1:]),
        calls=("zoom",) * len(boxes), question=case.question, options=case.options, gold="one",
    )  # fmt: skip
    return Played(case, trajectory, images)
