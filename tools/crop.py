"""`crop`: a region of a view at its original size, never enlarged.

What it shows within `view_size` are the original pixels themselves, bit for bit; a larger region is
averaged down by area. (A sliver is widened to the narrowest aspect that a view may have.)
"""

from .zoom import Zoom


class Crop(Zoom):
    """Cut out: shows a region of a view at its original size, never enlarged."""

    name = "crop"
    enlarges = False
