"""What each pixel looks like: its brightness and colour, smoothed a little, and its texture.

The texture is closing minus opening: what fills the narrow gaps of an image minus what removes its
narrow parts. It is large within stripes and grains, and 0 at the straight edge of a region, so it
ends where the texture ends.
"""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

SMOOTHINGS = (0.5, 1.0)
"""Standard deviations of the Gaussians, in pixels that are worked on."""

RADII = (2, 4)
"""Half the widths of the gaps and the parts of a texture, in pixels."""

TEXTURE_SMOOTHING = 0.2
"""Standard deviation of the Gaussian over a texture, as a share of its radius."""

TEXTURE_SCALE = 4.0
"""A texture counts as the root of its levels times this, so that a strong one is not all."""

AXES = 2
"""Axes of colour that are looked at: those along which the colours differ most."""


def features(pixels: Pixels, scale: float = 1.0) -> Pixels:
    """(height, width, features) of (height, width, 3); `scale` is that of the textures."""
    from scipy.ndimage import gaussian_filter, grey_closing, grey_opening

    channels = _channels(pixels)
    made = [
        gaussian_filter(channel, sigma, mode="nearest", truncate=3.0)
        for channel in channels
        for sigma in SMOOTHINGS
    ]
    for radius in (max(1, round(scale * radius)) for radius in RADII):
        size = (2 * radius + 1, 2 * radius + 1)
        texture = grey_closing(made[0], size, mode="nearest")
        texture -= grey_opening(made[0], size, mode="nearest")
        smooth = gaussian_filter(texture, TEXTURE_SMOOTHING * radius, mode="nearest")
        made.append(TEXTURE_SCALE * np.sqrt(np.maximum(smooth, 0.0) + 1.0))
    return np.stack(made, axis=-1).astype(np.float32)


def _channels(pixels: Pixels) -> list[Pixels]:
    red, green, blue = (pixels[..., i] for i in range(3))
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return [red]
    flat = pixels.reshape(-1, 3) - pixels.reshape(-1, 3).mean(axis=0)
    axes = np.linalg.eigh((flat.T @ flat).astype(np.float64))[1]
    made: list[Pixels] = []
    for axis in axes.T[::-1][:AXES]:
        turned = axis * np.sign(axis[np.argmax(np.abs(axis))])  # a sign of eigh's own may vary
        made.append((flat @ turned.astype(np.float32)).reshape(pixels.shape[:2]))
    return made
