"""Random numbers that are the same on every machine and under every release of NumPy.

NumPy guarantees the raw words of a bit generator, but not what the methods of its `Generator` make
of them. So integers and reals are made here, from PCG64 words by shifts and one exact
multiplication.
"""

import numpy as np
from numpy.typing import NDArray


class RandomStream:
    """A stream of random numbers from one seed."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high)."""
        return low + int(self._bits.random_raw()) % (high - low)

    def real(self, low: float, high: float) -> float:
        """A real number in [low, high)."""
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) * 2.0**-53)

    def reals(self, *shape: int) -> NDArray[np.float32]:
        """Reals in [0, 1) of 24 bits each."""
        words = np.asarray(self._bits.random_raw(int(np.prod(shape))), dtype=np.uint64)
        return ((words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)).reshape(shape)

    def bytes(self, *shape: int) -> NDArray[np.uint8]:
        """Integers in 0..255."""
        count = int(np.prod(shape))
        words = np.asarray(self._bits.random_raw(-(-count // 8)), dtype="<u8")
        return words.view(np.uint8)[:count].reshape(shape)
