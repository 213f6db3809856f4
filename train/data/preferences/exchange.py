"""Other images in the place of those that an episode showed, of the same size and mode.

So every placeholder keeps its feature, and only what there is to see changes. `crop` is the image
condition of mDPO (arXiv 2406.11839), `noise` the local one of MMedPO (arXiv 2412.06141).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medgym.cases import Case
from medgym.errors import UserError, unknown
from medgym.imaging.study import Box
from medgym.metrics.recorded_tokens import read_nodes
from medgym.metrics.sight import GREY
from medgym.trajectory import ImageUse, Trajectory

from .coverage import covered_findings

Which = Literal["all", "views", "overview"]
"""Which images are exchanged: all, those that tools made, or those shown at the start. A picture
that a tool only repeats belongs to the start."""

How = Literal["crop", "noise", "other", "blank"]
"""What is shown instead: a crop of 1 to 20 % of the area, noise in the gold regions, another
patient's image, or grey."""

WHICH: tuple[Which, ...] = get_args(Which)
HOW: tuple[How, ...] = get_args(How)

AREA = (0.01, 0.2)
"""The share of the area that a crop keeps, as mDPO has it."""

ASPECT = (3 / 4, 4 / 3)
"""The range of a crop's aspect, relative to the image's pixels."""

XI = 0.1
"""How much of a region's own light `noise` leaves: `xi` of MMedPO's formula."""


def exchanged_images(
    trajectory: Trajectory,
    *,
    which: Which,
    how: How,
    case: Case | None = None,
    image: Callable[[str], Image.Image],
    others: Sequence[str] = (),
    rng: np.random.Generator,
    xi: float = XI,
) -> dict[str, Image.Image]:
    """The images that stand in for those of an episode, by the content hash of what they replace.

    They have the size and the mode of the originals. An image that would stay as it is is omitted:
    with `noise` that is one that shows no gold region.

    Args:
        trajectory: of one policy, not of a whole consultation.
        which, how: as `Which` and `How` say it.
        case: what was played; `noise` needs its regions.
        image: gives the pixels of a content hash.
        others: images of other patients, by content hash; `other` needs them.
        rng: all that is random comes from it.
        xi: how much of a region's own light `noise` leaves, 0 to 1.

    Raises:
        UserError: `other` without another patient's image.
    """
    uses: dict[str, list[ImageUse]] = {}
    for use in chosen_uses(trajectory, which):
        uses.setdefault(use.sha256, []).append(use)
    if how == "other" and uses and not others:
        raise UserError(
            "there is no other patient's image to show; fix: give cases of two patients at least"
        )
    count = min(len(uses), len(others)) if how == "other" else 0
    chosen = rng.choice(len(others), count, replace=False) if count else ()
    made: dict[str, Image.Image] = {}
    for place, (name, same) in enumerate(uses.items()):
        own = image(name)
        if how == "noise":
            if case is None:
                raise ValueError("noise needs the case, which has the regions")
            # Where two views are the same picture, only what is inside a region in both changes.
            shares = [covered_findings(case, trajectory, use.view, own.size) for use in same]
            new = _noised(own, np.minimum.reduce(shares), xi, rng)
        elif how == "crop":
            new = _cropped(own, rng)
        elif how == "other":
            new = fitted(image(others[chosen[place % count]]), own)
        else:
            new = Image.new("RGB", own.size, GREY).convert(own.mode)
        if new.tobytes() != own.tobytes():
            made[name] = new
    return made


def chosen_uses(trajectory: Trajectory, which: Which) -> list[ImageUse]:
    """The images of an episode that `which` means, in the order in which they were shown."""
    shown = [node.images for node in read_nodes(trajectory)]
    start = {use.sha256 for use in shown[0]}
    every = (use for images in shown for use in images)
    if which == "all":
        return list(every)
    return [use for use in every if (use.sha256 in start) == (which == "overview")]


def read_which(name: str, which: str) -> Which:
    """The option `which` of the builder of that name.

    Raises:
        UserError: another text than those of `Which`.
    """
    found = next((each for each in WHICH if each == which), None)
    if found is None:
        raise unknown(f"kind of images of {name}", which, WHICH)
    return found


def with_images(
    trajectory: Trajectory,
    images: Mapping[str, Image.Image],
    keep: Callable[[Image.Image], str],
) -> Trajectory:
    """The episode as if it had been shown other images: the same words over the same tokens.

    Nobody played it so. It is a demonstration without log-probabilities, and has earned nothing.

    Args:
        images: as `exchanged_images` returns them.
        keep: stores an image and returns its content hash.
    """
    names = {name: keep(image) for name, image in images.items()}
    nodes = (
        replace(
            node,
            logprobs=(),
            images=tuple(replace(u, sha256=names.get(u.sha256, u.sha256)) for u in node.images),
        )
        for node in trajectory.nodes
    )
    kind = trajectory.kind if trajectory.kind == "text" else "demonstration"
    return replace(trajectory, kind=kind, nodes=tuple(nodes), reward=None, terms=None)


def fitted(other: Image.Image, own: Image.Image) -> Image.Image:
    """Another image in the size and the mode of one's own."""
    return other.convert(own.mode).resize(own.size)


def _cropped(own: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A random part of the image, enlarged to its size, as torchvision's RandomResizedCrop."""
    return own.resize(own.size, Image.Resampling.BICUBIC, _crop_box(own.size, rng))


def _crop_box(size: tuple[int, int], rng: np.random.Generator) -> Box:
    width, height = size
    area = rng.uniform(*AREA) * width * height
    aspect = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
    # Of a sliver the crop keeps the short side whole, and is then as long as its area asks for.
    across = min(math.sqrt(area * aspect), float(width))
    down = min(area / across, float(height))
    across = min(area / down, float(width))
    left, top = rng.uniform(0, width - across), rng.uniform(0, height - down)
    return left, top, min(left + across, float(width)), min(top + down, float(height))


def _noised(
    own: Image.Image, share: NDArray[np.float64], xi: float, rng: np.random.Generator
) -> Image.Image:
    """sqrt(xi) (x h) + sqrt(1 - xi) (eps h) + x (1 - h), with x from -1 to 1 and eps from N(0, 1).

    `h` is the share of a pixel that gold regions cover. All channels get the same noise, so grey
    stays grey.
    """
    eps = rng.standard_normal(share.shape)
    if not share.any():
        return own
    pixels = np.asarray(own)
    if pixels.ndim == 3:
        share, eps = share[..., None], eps[..., None]
    x = pixels / 127.5 - 1.0
    mixed = math.sqrt(xi) * x * share + math.sqrt(1.0 - xi) * eps * share + x * (1.0 - share)
    noised = np.clip(np.rint((mixed + 1.0) * 127.5), 0, 255).astype(np.uint8)
    return Image.fromarray(np.where(share > 0, noised, pixels))
