"""What each look of a phantom study stands for, and the difficulties."""

from dataclasses import dataclass

from medgym.sources.phantom.settings import SETTINGS, Setting

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
        questions: what may be asked; the first one by default, as of the others.
        sizes: sides of an image in pixels. depths: how many images there are.
        variants: the images of one phantom by name.
        shown: those that a case shows where its question names no others; it asks about the last.
    """

    setting: Setting
    questions: tuple[str, ...]
    sizes: tuple[int, ...] = (256, 128, 512)
    depths: tuple[int, ...] = (16, 8, 32, 64)
    variants: tuple[str, ...] = ("",)
    shown: tuple[str, ...] = ("",)


CT, MRI, CLIP, SLIDE = "ct-volume", "mri-volume", "ultrasound-clip", "slide"

T1, T2 = "t1", "t2"

STUDY_LOOKS = {
    CT: StudyLook(
        SETTINGS["ct"],
        ("kind", "side", "slice", "hounsfield", "count", "change"),
        variants=("", "prior", "several"),
    ),
    MRI: StudyLook(
        Setting("MR", "ABDOMEN", "radiologist", 12.0, SETTINGS["ct"].field),
        ("kind", "side", "slice"),
        variants=(T1, T2),
        shown=(T1, T2),
    ),
    CLIP: StudyLook(
        Setting("US", "ABDOMEN", "radiologist", 4.0, (0.0, 0.25, 0.5, 0.5)),
        ("kind", "side", "slice"),
    ),
    SLIDE: StudyLook(
        Setting("SM", "SKIN", "pathologist", 0.064, (0.0, 0.0, 1.3, 1.3)),
        ("kind", "side"),
        sizes=(1024, 2048, 4096),
        depths=(1,),
    ),
}
"""The looks of studies of several images."""
