"""What a phantom's image stands for: modality, body part, specialty, scale; a lesion's options."""

from dataclasses import dataclass

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
