"""An order of many cases that a seed fixes, without making a case."""

from array import array
from collections.abc import Sequence

import numpy as np

from medgym.errors import UserError
from medgym.seeds import seed_of

SHUFFLE = "shuffle"
"""The option of a case spec, whatever the source, that names the seed of its order."""


def permuted(indices: Sequence[int], seed: int) -> "array[int]":
    """Indices in another order, eight bytes each."""
    order = np.random.default_rng(seed_of(seed, SHUFFLE)).permutation(len(indices))
    found = array("q")
    found.frombytes(np.asarray(indices, np.int64)[order].tobytes())
    return found


def seed_in(options: dict[str, str]) -> int | None:
    """The seed that the options of a case spec name, which is taken out of them; None for none.

    Raises:
        UserError: it is no whole number.
    """
    given = options.pop(SHUFFLE, None)
    if given is None:
        return None
    if not given.isdecimal() or len(given) > 18:
        raise UserError(f"shuffle={given} is no seed; fix: write a whole number, such as shuffle=0")
    return int(given)
