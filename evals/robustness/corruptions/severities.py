"""Which corruptions fit to which kind of image, and how strong each is at severities 1 to 5.

The numbers are those of MedMNIST-C (Di Salvo, Doerrich and Ledig 2024, arXiv 2406.17536): of the
data set of each kind of image, such as ChestMNIST for radiographs. Lengths are in pixels of an
image whose short side has 224. The radii of `black-corner` are in descending order here.
"""

from collections.abc import Mapping
from typing import Any

SEVERITIES = (1, 2, 3, 4, 5)

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "digital": ("pixelate", "jpeg"),
    "noise": ("gaussian-noise", "speckle-noise", "impulse-noise", "shot-noise"),
    "blur": ("defocus-blur", "motion-blur", "zoom-blur", "gaussian-blur"),
    "colour": (
        "brightness-up",
        "brightness-down",
        "contrast-up",
        "contrast-down",
        "saturate",
    ),
    "artefacts": (
        "stain-deposit",
        "bubble",
        "black-corner",
        "characters",
        "gamma-up",
        "gamma-down",
    ),
}
"""The corruptions of each family; `artefacts` are those that MedMNIST-C calls task-specific."""

CORRUPTIONS = tuple(name for names in FAMILIES.values() for name in names)

Strengths = Mapping[str, tuple[Any, ...]]

_JPEG = (50, 30, 15, 10, 7)
_BRIGHTER = (1.1, 1.2, 1.3, 1.4, 1.5)
_DARKER = (0.9, 0.8, 0.7, 0.6, 0.5)
_MORE = (1.1, 1.2, 1.3, 1.4, 1.6)
_LESS = (0.9, 0.8, 0.7, 0.6, 0.4)
_GAUSSIAN = (0.04, 0.08, 0.12, 0.18, 0.26)
_SPECKLE = (0.05, 0.15, 0.2, 0.35, 0.45)
_IMPULSE = (0.01, 0.03, 0.06, 0.09, 0.17)
_SHOT = (60, 25, 18, 10, 5)
_DEFOCUS = ((4, 0.1), (5, 0.2), (6, 0.3), (7, 0.4), (8, 0.5))
_MOTION = ((10, 5), (15, 5), (15, 8), (15, 12), (20, 15))

_ANY: Strengths = {
    "pixelate": (0.7, 0.5, 0.4, 0.3, 0.25),
    "jpeg": (30, 20, 15, 10, 7),
    "gaussian-noise": _GAUSSIAN,
    "speckle-noise": _SPECKLE,
    "impulse-noise": _IMPULSE,
    "shot-noise": _SHOT,
    "defocus-blur": _DEFOCUS,
    "motion-blur": _MOTION,
    "zoom-blur": ((1.1, 0.01), (1.15, 0.01), (1.2, 0.02), (1.24, 0.02), (1.3, 0.03)),
    "brightness-up": _BRIGHTER,
    "brightness-down": _DARKER,
    "contrast-up": _MORE,
    "contrast-down": (0.8, 0.7, 0.6, 0.5, 0.4),
}

STRENGTHS: Mapping[str, Strengths] = {
    "histology": {
        "pixelate": (0.8, 0.6, 0.4, 0.3, 0.25),
        "jpeg": _JPEG,
        "defocus-blur": ((3, 0.1), (4, 0.1), (5, 0.2), (6, 0.2), (7, 0.3)),
        "motion-blur": ((5, 5), (10, 5), (15, 5), (15, 8), (15, 12)),
        "brightness-up": (1.1, 1.15, 1.2, 1.22, 1.25),
        "brightness-down": (0.85, 0.8, 0.75, 0.72, 0.7),
        "contrast-up": _MORE,
        "contrast-down": (0.8, 0.7, 0.6, 0.55, 0.5),
        "saturate": (0.05, 0.1, 0.15, 0.2, 0.25),
        "stain-deposit": (1, 2, 3, 4, 5),
        "bubble": ((7, 15), (10, 15), (12, 15), (15, 20), (17, 25)),
    },
    "cells": {
        "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
        "jpeg": _JPEG,
        "defocus-blur": ((2, 0.01), (3, 0.1), (4, 0.1), (5, 0.1), (6, 0.1)),
        "motion-blur": ((3, 3), (5, 5), (10, 5), (10, 7), (10, 9)),
        "brightness-up": (1.1, 1.2, 1.3, 1.35, 1.4),
        "brightness-down": _DARKER,
        "contrast-up": (1.1, 1.15, 1.2, 1.25, 1.3),
        "contrast-down": _DARKER,
        "saturate": (0.05, 0.1, 0.15, 0.17, 0.2),
        "stain-deposit": (1, 2, 3, 3, 3),
        "bubble": ((5, 10), (7, 10), (10, 10), (12, 12), (15, 12)),
    },
    "photograph": {
        **_ANY,
        "black-corner": (1.1, 1.05, 1.0, 0.95, 0.9),
        "characters": ((1, 6, 0.14), (2, 7, 0.15), (3, 8, 0.16), (4, 9, 0.17), (6, 10, 0.18)),
    },
    "fundus": {
        "pixelate": (0.8, 0.6, 0.5, 0.4, 0.35),
        "jpeg": (30, 25, 20, 10, 5),
        "gaussian-noise": (0.04, 0.08, 0.12, 0.16, 0.2),
        "speckle-noise": (0.1, 0.15, 0.2, 0.25, 0.3),
        "defocus-blur": _DEFOCUS,
        "motion-blur": ((8, 5), *_MOTION[1:]),
        "brightness-down": _DARKER,
        "contrast-down": _LESS,
    },
    "oct": {
        "pixelate": (0.3, 0.25, 0.2, 0.15, 0.1),
        "jpeg": (30, 15, 10, 7, 5),
        "speckle-noise": (0.15, 0.3, 0.4, 0.5, 0.6),
        "defocus-blur": ((0.5, 0.6), (1, 0.5), (1.5, 0.1), (2, 0.5), (2.5, 0.1)),
        "motion-blur": ((10, 3), *_MOTION[1:]),
        "contrast-down": (0.6, 0.4, 0.3, 0.2, 0.15),
    },
    "ultrasound": {
        "pixelate": (0.3, 0.25, 0.2, 0.15, 0.1),
        "jpeg": _JPEG,
        "speckle-noise": (0.1, 0.15, 0.2, 0.25, 0.3),
        "motion-blur": ((5, 5), (9, 7), (9, 10), (13, 10), (17, 12)),
        "brightness-up": (1.4, 1.5, 1.6, 1.8, 2.0),
        "brightness-down": (0.55, 0.5, 0.45, 0.4, 0.3),
        "contrast-down": _LESS,
    },
    "radiograph": {
        "pixelate": (0.3, 0.25, 0.2, 0.15, 0.1),
        "jpeg": _JPEG,
        "gaussian-noise": _GAUSSIAN,
        "speckle-noise": _SPECKLE,
        "impulse-noise": _IMPULSE,
        "shot-noise": _SHOT,
        "gaussian-blur": (3, 5, 7, 9, 11),
        "brightness-up": _BRIGHTER,
        "brightness-down": _DARKER,
        "contrast-up": _MORE,
        "contrast-down": _LESS,
        "gamma-up": _MORE,
        "gamma-down": _LESS,
    },
    "section": {
        "pixelate": (0.7, 0.6, 0.5, 0.4, 0.35),
        "jpeg": _JPEG,
        "gaussian-noise": (0.04, 0.08, 0.12, 0.16, 0.2),
        "speckle-noise": (0.05, 0.1, 0.2, 0.3, 0.4),
        "impulse-noise": (0.01, 0.02, 0.03, 0.05, 0.08),
        "shot-noise": (200, 100, 50, 25, 15),
        "gaussian-blur": (11, 13, 15, 17, 21),
        "brightness-up": (1.2, 1.3, 1.4, 1.5, 1.6),
        "brightness-down": (0.8, 0.75, 0.7, 0.65, 0.6),
        "contrast-up": (1.3, 1.4, 1.6, 1.7, 1.8),
        "contrast-down": (0.8, 0.7, 0.6, 0.55, 0.5),
        "gamma-up": (1.3, 1.4, 1.6, 1.8, 2.0),
        "gamma-down": _LESS,
    },
    "any": _ANY,
}
"""For each kind of image the corruptions that fit, each with its five strengths: of PathMNIST,
BloodMNIST, DermaMNIST, RetinaMNIST, OCTMNIST, BreastMNIST, ChestMNIST and the OrganMNISTs. `any`,
for what is none of these, has what any image may suffer."""

_KINDS = {
    "histology": ("SM",),
    "cells": ("GM",),
    "photograph": ("XC", "DMS", "ES"),
    "fundus": ("OP",),
    "oct": ("OPT", "OCT"),
    "ultrasound": ("US", "IVUS"),
    "radiograph": ("CR", "DX", "MG", "RF", "XA", "PX", "IO", "DR", "RG"),
    "section": ("CT", "MR", "PT", "NM"),
}

_KIND_OF = {code: kind for kind, codes in _KINDS.items() for code in codes}


def kind_of(modality: str | None) -> str:
    """The kind of image that a DICOM modality code stands for: one of `STRENGTHS`."""
    return _KIND_OF.get((modality or "").upper(), "any")


def strengths(modality: str | None) -> Strengths:
    """The corruptions that fit to images of a modality, each with its five strengths."""
    return STRENGTHS[kind_of(modality)]
