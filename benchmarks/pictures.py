"""Images for the benchmarks: noise of a given size in files, so that opening them is real."""

from pathlib import Path

import numpy as np
from PIL import Image

from medgym.cases import Case
from medgym.imaging.study import ImageRef


def noise_cases(folder: Path, number: int, side: int, *, colour: bool = False) -> list[Case]:
    """Cases of one image each, `side` x `side` pixels, whose PNG files are written to `folder`."""
    cases = []
    for index in range(number):
        shape = (side, side, 3) if colour else (side, side)
        pixels = np.random.default_rng(index).integers(0, 256, shape, np.uint8)
        file = folder / f"{index}.png"
        Image.fromarray(pixels).save(file, compress_level=1)
        cases.append(
            Case(
                id=f"noise/test/{index}",
                images=(ImageRef(uri=file.resolve().as_uri()),),
                question="Is this noise?",
                options=("yes", "no"),
                answer="yes",
                answer_type="choice",
                group=str(index),
                source="noise",
                split="test",
            )
        )
    return cases
