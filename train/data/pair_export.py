"""Pairs for other trainers: `prompt`, `chosen`, `rejected` and `images`, as TRL takes them.

The folder is an image folder of the library `datasets`, which reads it as it is:

    datasets.load_dataset("imagefolder", data_dir="exported", split="train")

Messages hold a placeholder for each image, in the order of `images`: those of the question, and
then those of the chosen episode's tool turns. TRL's own DPOTrainer takes pairs whose images are all
in the question; it refuses others. Where the rejected episode shows other images,
`rejected_images` has its list.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.progress import Advance
from medgym.storage.atomic import write_atomic
from medgym.storage.trajectories import ImageStore
from medgym.trajectory import Trajectory

from .preferences.folder import PairFolder
from .preferences.pair import Pair

ROWS = "metadata.jsonl"

_NAMES = "_file_names"
"""How a column of paths ends, by which `datasets` knows it."""


def export_pairs(
    pairs: PairFolder, out: Path, advance: Advance = lambda _=1, /, **figures: None
) -> dict[str, int]:
    """Write pairs into a new folder: `metadata.jsonl`, and `images/`, to which it refers.

    Returns how many pairs there are, how many are of one turn, how many have images in later turns,
    and how many images.

    Raises:
        UserError: the folder is not empty or cannot be written, or an image is lost.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not empty; fix: choose another name or remove it")
    images = ImageStore(out / "images")
    rows = []
    one_turn = later = 0
    try:
        for pair in pairs:
            row = row_of(pair)
            one_turn += len(row["chosen"]) == len(row["rejected"]) == 1
            later += any(_shows_later(each) for each in (pair.chosen, pair.rejected))
            for sha256 in dict.fromkeys(row["images"] + row["rejected_images"]):
                images.take(sha256, pairs.images)
            rows.append(row)
            advance(1)
        differ = any(row["images"] != row["rejected_images"] for row in rows)
        for row in rows:
            row[f"images{_NAMES}"] = _paths(row.pop("images"))
            others = _paths(row.pop("rejected_images"))
            if differ:
                row[f"rejected_images{_NAMES}"] = others
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomic(out / ROWS, text.encode("utf-8", "replace"))
    except OSError as error:
        raise UserError(f"cannot write to {out} ({error.strerror}); fix: choose another") from error
    return {
        "pairs": len(rows),
        "one_turn": one_turn,
        "later_images": later,
        "images": len(images.names()),
    }


def row_of(pair: Pair) -> dict[str, Any]:
    """A pair as messages, with the content hashes of the images of each episode."""
    chosen, rejected = pair.chosen.messages(), pair.rejected.messages()
    start = next(i for i, each in enumerate(chosen) if each["role"] == "assistant")
    return {
        "prompt": chosen[:start],
        "chosen": chosen[start:],
        "rejected": rejected[start:],
        "images": list(pair.chosen.image_hashes),
        "rejected_images": list(pair.rejected.image_hashes),
        "case": pair.case_id,
        "builder": pair.builder,
        "score": pair.score,
        "margin": pair.margin,
    }


def _paths(hashes: Iterable[str]) -> list[str]:
    return [f"images/{each[:2]}/{each}.png" for each in hashes]


def _shows_later(trajectory: Trajectory) -> bool:
    """Whether an episode shows images after its question."""
    return len(trajectory.image_hashes) > len(trajectory.branch()[0].images)
