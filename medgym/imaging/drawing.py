"""Pictures for people: views drawn large, boxes on them, sheets of several with captions.

Nothing here is shown to a policy. Pixels are enlarged by whole factors, so that a person sees the
pixels that the policy saw.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from medgym.imaging.study import Box

LOOKED = "#ff9d00"
"""The colour of a box at which a policy looked."""

GOLD = "#00c853"
"""The colour of a gold region."""

CAPTION = 16
"""The height of a caption's letters in pixels."""

GAP = 8

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Mark:
    """A box to draw, in original pixels, with its colour and the label at its corner."""

    box_px: Box
    colour: str = LOOKED
    label: str = ""


def enlarged(picture: Image.Image, side: int) -> Image.Image:
    """The picture with a longer side of about `side`, enlarged only by whole factors."""
    longest = max(picture.size)
    if longest >= side:
        size = (max(1, picture.width * side // longest), max(1, picture.height * side // longest))
        return picture.resize(size, Image.Resampling.BOX) if longest > side else picture.copy()
    factor = side // longest
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, Image.Resampling.NEAREST)


def marked(picture: Image.Image, frame_px: Box, marks: Sequence[Mark], side: int) -> Image.Image:
    """A view drawn with a longer side of about `side`, with boxes on it.

    Args:
        picture: the view.
        frame_px: the region of the original image that the view shows.
        marks: the boxes.
    """
    drawn = enlarged(picture, side).convert("RGB")
    across = drawn.width / (frame_px[2] - frame_px[0])
    down = drawn.height / (frame_px[3] - frame_px[1])
    pen = ImageDraw.Draw(drawn)
    font = ImageFont.load_default(CAPTION)
    width = max(1, side // 170)
    for mark in marks:
        left = (mark.box_px[0] - frame_px[0]) * across
        top = (mark.box_px[1] - frame_px[1]) * down
        right = max((mark.box_px[2] - frame_px[0]) * across - 1, left)
        bottom = max((mark.box_px[3] - frame_px[1]) * down - 1, top)
        pen.rectangle((left, top, right, bottom), outline=mark.colour, width=width)
        if mark.label:
            pen.text((left + width + 2, top + width), mark.label, mark.colour, font=font)
    return drawn


def sheet(tiles: Sequence[tuple[str, Sequence[Image.Image]]], columns: int) -> Image.Image:
    """Tiles on white, `columns` in a row. A tile is a caption above pictures side by side."""
    font = ImageFont.load_default(CAPTION)
    drawn = [_tile(caption, pictures, font) for caption, pictures in tiles]
    width = max(tile.width for tile in drawn)
    lines = [drawn[start : start + columns] for start in range(0, len(drawn), columns)]
    heights = [max(tile.height for tile in line) for line in lines]
    page = Image.new(
        "RGB",
        (
            min(columns, len(drawn)) * (width + GAP) + GAP,
            sum(heights) + GAP * (len(lines) + 1),
        ),
        "white",
    )
    top = GAP
    for line, height in zip(lines, heights, strict=True):
        for place, tile in enumerate(line):
            page.paste(tile, (GAP + place * (width + GAP), top))
        top += height + GAP
    return page


def _tile(caption: str, pictures: Sequence[Image.Image], font: Font) -> Image.Image:
    width = sum(p.width for p in pictures) + GAP * (len(pictures) - 1)
    head = CAPTION + GAP
    tile = Image.new("RGB", (width, head + max(p.height for p in pictures)), "white")
    ImageDraw.Draw(tile).text((0, 0), _fitting(caption, width, font), "black", font=font)
    left = 0
    for picture in pictures:
        tile.paste(picture, (left, head))
        left += picture.width + GAP
    return tile


def _fitting(text: str, width: int, font: Font) -> str:
    text = text[: max(width, 1)]  # a letter is a pixel wide or more, and a long text takes long
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
