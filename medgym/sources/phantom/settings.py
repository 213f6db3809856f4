"""What a phantom's image stands for: modality, body part, specialty, scale; a lesion's options."""

from dataclasses import dataclass

from medgym.cases import CaseKey

SPLITS = {"train": 1_000_000, "validation": 100_000, "test": 100_000}
"""The splits with their numbers of cases, for any choice of options."""

FIRST = {"train": 0, "validation": 12_000_000, "test": 24_000_000}
"""The global number of a split's phantom 0. No split has 12,000,000 phantoms, so no number is in
two splits. These are multiples of 48, so no deck of 24 pairs is in two splits either."""

SIDES = ("left", "right")
STAGES = ("early", "late")
LENGTHS = (2, 3, 4)
"""A lesion's longest side in blocks: 32, 48 or 64 pixels at 512 x 512."""


@dataclass(frozen=True)
class Setting:
    """What the images of one look stand for.

    Attributes:
        modality, body_part: as DICOM names them.
        specialty: of the doctor who reads such images.
        block_mm: the side of a block of the grid in millimetres.
        field: where lesions may lie: an ellipse (centre x, y, radii x, y) in -1..1 of the image.
    """

    modality: str
    body_part: str
    specialty: str
    block_mm: float
    field: tuple[float, float, float, float]


SETTINGS = {
    "radiograph": Setting("DX", "CHEST", "radiologist", 11.0, (0.0, 0.02, 0.78, 0.74)),
    "ct": Setting("CT", "ABDOMEN", "radiologist", 12.0, (0.0, 0.02, 0.74, 0.58)),
    "fundus": Setting("OP", "EYE", "ophthalmologist", 0.4, (0.0, 0.0, 0.78, 0.78)),
    "histology": Setting("SM", "SKIN", "pathologist", 0.01, (0.0, 0.0, 1.4, 1.4)),
}


def key_of(split: str, look: str, size: int, question: str, number: int) -> CaseKey:
    """The key of the case that asks `question` about a phantom."""
    return CaseKey(
        id=f"phantom/{split}/{look}-{size}-{question}-{number}",
        source="phantom",
        group=f"{split}/{look}-{size}-{number}",
    )


def lengths(look: str) -> tuple[str, ...]:
    """The options of the question of size: ranges in mm, one for each of `LENGTHS`."""
    low, high = (f"{(n + 0.5) * SETTINGS[look].block_mm:g}" for n in LENGTHS[:2])
    return f"under {low} mm", f"{low} to {high} mm", f"over {high} mm"
