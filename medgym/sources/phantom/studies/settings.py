"""What each look of a phantom study stands for, and the difficulties."""

from dataclasses import dataclass

from medgym.sources.phantom.settings import SETTINGS, Setting

DEPTHS = (8, 16, 32, 64)
"""How many images a study may have."""

DIFFICULTIES = ("easy", "medium", "hard")
"""easy: the lesion is on a quarter of the images. medium: on one of them. hard: on one of them, and
its kind shows only in another window than the study's own; where a look has no window, faintly."""

LENGTHS = (2, 3, 4)
"""A lesion's longest side in blocks."""

MOST_LESIONS = 4
"""The most lesions that are to be counted."""

MAX_ASPECT = 16
"""The distance between images is so many pixels at most: flatter pixels are not drawn true."""

CHANGES = ("new", "larger", "smaller", "unchanged")
"""What has become of a lesion since the visit before."""


@dataclass(frozen=True)
class StudyLook:
    """What the studies of one look stand for.

    Attributes:
        setting: modality, body part, specialty, scale and field, as of a single image.
        questions: what may be asked, the first one by default.
        variants: the images of one phantom by name.
        shown: those that a case shows where its question names no others; it asks about the last.
    """

    setting: Setting
    questions: tuple[str, ...]
    variants: tuple[str, ...] = ("",)
    shown: tuple[str, ...] = ("",)


CT, MRI, CLIP = "ct-volume", "mri-volume", "ultrasound-clip"

T1, T2 = "t1", "t2"

STUDY_LOOKS = {
    CT: StudyLook(
        SETTINGS["ct"],
        ("kind", "side", "slice", "hounsfield", "count", "change"),
        ("", "prior", "several"),
    ),
    MRI: StudyLook(
        Setting("MR", "ABDOMEN", "radiologist", 12.0, SETTINGS["ct"].field),
        ("kind", "side", "slice"),
        (T1, T2),
        (T1, T2),
    ),
    CLIP: StudyLook(
        Setting("US", "ABDOMEN", "radiologist", 4.0, (0.0, 0.25, 0.5, 0.5)),
        ("kind", "side", "slice"),
    ),
}
"""The looks of studies of several images."""
