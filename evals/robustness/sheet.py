"""A contact sheet: one image of each kind, with the corruptions that fit it, at all severities."""

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from medgym.cases import Case
from medgym.errors import UserError
from medgym.imaging.drawing import sheet
from medgym.imaging.study import ImageRef, open_image
from medgym.seeds import seed_of

from .changed import changed_ref
from .corruptions.apply import ImageChange
from .corruptions.severities import CORRUPTIONS, SEVERITIES, kind_of, strengths
from .variants import Variant


def write_sheet(
    cases: Iterable[Case], variants: Iterable[Variant], out: Path, *, side: int = 160
) -> int:
    """Draw the corruptions among the variants, in rows from clean to the greatest severity.

    Args:
        cases: of each kind of image the first is drawn.
        side: the longer side of a picture.

    Returns:
        how many images are on the sheet.

    Raises:
        UserError: no case has an image, no corruption is asked for, or the file is no PNG.
    """
    if out.suffix.lower() != ".png":
        raise UserError(f"--show {out} is no PNG file; fix: name it FILE.png")
    names = [name for name in CORRUPTIONS if name in {each.name for each in variants}]
    first: dict[str, Case] = {}
    for case in cases:
        if case.images:
            first.setdefault(kind_of(case.modality), case)
    tiles = []
    for kind, case in first.items():
        ref = case.images[0]
        for name in names:
            if name not in strengths(case.modality):
                continue
            row = [_picture(ref, side)]
            for severity in SEVERITIES:
                seed = seed_of("corruption", case.id, 0, Variant(name, severity))
                change = ImageChange(name, severity, kind, seed)
                row.append(_picture(changed_ref(ref, change), side))
            tiles.append((f"{name}: clean, 1 to {len(SEVERITIES)} ({case.modality or kind})", row))
    if not tiles:
        raise UserError(
            "there is nothing to draw: no case has an image, or no corruption that was asked for "
            "fits one; fix: name other cases or --variants"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet(tiles, 2 if len(tiles) > 2 else 1).save(out)
    return len(first)


def _picture(ref: ImageRef, side: int) -> Image.Image:
    study = open_image(ref)
    width, height = study.size
    wide, high = study.true_size(width, height)
    factor = side / max(wide, high)
    size = max(1, round(wide * factor)), max(1, round(high * factor))
    return study.render((0.0, 0.0, float(width), float(height)), size)
