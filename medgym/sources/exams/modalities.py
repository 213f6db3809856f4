"""The DICOM codes of modalities that data sets name in words."""

from functools import cache

_CODES = {
    "ct": "CT",
    "mr": "MR",
    "mri": "MR",
    "xray": "DX",
    "ultrasound": "US",
    "fundusphotography": "OP",
    "infraredreflectanceimaging": "OP",
    "oct": "OPT",
    "dermoscopy": "DMS",
    "endoscopy": "ES",
    "colposcopy": "ES",
    "digitalphotography": "XC",
    "microscopyimages": "GM",
}


@cache
def modality_code(name: str) -> str | None:
    """The DICOM code of a modality; None where it is not known.

    What stands in brackets does not count, nor do case, blanks and hyphens: `MR (Mag-netic
    Resonance Imaging)`, `CT(Computed Tomography)` and `X-Ray` are known.
    """
    before = name.partition("(")[0]
    return _CODES.get("".join(filter(str.isalpha, before)).casefold())
