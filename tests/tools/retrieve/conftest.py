"""Small indices, each built once for all tests."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgym.cases import Case, write_cases
from medgym.imaging.study import ImageRef
from tests.tools.retrieve.planted import built

GUIDE = """# Lungs

A pneumothorax is air between the layers of the pleura.

## Nodules

A nodule is round and smaller than 30 mm.

# Bones

A fracture is a break of a bone.
"""


@pytest.fixture(scope="session")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the passages of a small Markdown file."""
    folder = tmp_path_factory.mktemp("guide")
    (folder / "guide.md").write_text(GUIDE)
    return built([str(folder / "guide.md")], folder / "index")


def pattern(seed: int, side: int = 96) -> Image.Image:
    """A smooth picture, another for each seed."""
    small = np.random.default_rng(seed).integers(0, 256, (12, 12)).astype(np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).convert("RGB")


def plain_case(key: str, *images: ImageRef, **fields: object) -> Case:
    whole: dict[str, object] = {
        "id": f"ward/train/{key}", "images": images, "question": "Is there a nodule?",
        "answer": f"answer of {key}", "group": key, "source": "ward", "split": "train",
    }  # fmt: skip
    return Case.model_validate(whole | fields)


@pytest.fixture(scope="session")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the index of eight cases: `p0` to `p3` of CT, `q0` to `q3` of follow-ups of MR
    (prior `10+n`, current `20+n`), and of a passage about each modality and one about all."""
    folder = tmp_path_factory.mktemp("ward")
    cases = []
    for n in range(4):
        refs = []
        for seed, role in ((n, "current"), (10 + n, "prior"), (20 + n, "current")):
            path = folder / f"{seed}.png"
            pattern(seed).save(path)
            refs.append(ImageRef.model_validate({"uri": f"file:{path}", "role": role}))
        cases.append(plain_case(f"p{n}", refs[0], modality="CT"))
        cases.append(plain_case(f"q{n}", *refs[1:], modality="MR", question="Has it changed?"))
    write_cases(cases, folder / "cases.jsonl")
    passages = [
        {"id": "ct", "text": "On CT a nodule is dense.", "modality": "CT"},
        {"id": "mr", "text": "On MR a nodule is bright.", "modality": "MR"},
        {"id": "all", "text": "A nodule is round."},
    ]
    (folder / "p.jsonl").write_text("\n".join(map(json.dumps, passages)))
    built([str(folder / "cases.jsonl"), str(folder / "p.jsonl")], folder / "index")
    return folder
