"""How many documents may be handed out so that a risk stays under a bound, as in RULE.

RULE (arXiv 2407.05131) controls the risk of a number k of retrieved documents on held-out cases by
Learn then Test (Angelopoulos et al. 2021). For each k the hypothesis is that the risk is above
alpha; its p-value is valid for any distribution of independent losses in 0..1. Of all tests
together one is wrong with a probability of at most delta (Bonferroni). So the k that is chosen has
a risk above alpha with a probability of at most delta over the draw of the held-out cases.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def p_values(losses: Floats, alpha: float) -> Floats:
    """For each column of losses the p-value of the hypothesis that its mean is above alpha.

    Of losses of 0 and 1 alone it is that of the binomial distribution; of others the lesser of
    Hoeffding's and Bentkus' bounds.

    Args:
        losses: (..., cases, columns), in 0..1.
    """
    from scipy.stats import binom

    count = losses.shape[-2]
    total = losses.sum(axis=-2)
    exact = binom.cdf(np.ceil(total - 1e-9), count, alpha)
    if np.isin(losses, (0, 1)).all():
        made: Floats = exact
        return made
    mean = np.minimum(total / count, alpha)
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.where(mean > 0, mean * np.log(mean / alpha), 0.0)
        distance = below + (1 - mean) * np.log((1 - mean) / (1 - alpha))
    hoeffding = np.exp(-count * distance)
    bound: Floats = np.minimum(np.minimum(hoeffding, math.e * exact), 1.0)
    return bound


def smallest_safe(p: Floats, delta: float) -> NDArray[np.intp]:
    """The first of several columns, ordered by k, whose risk is proven; -1 where none is.

    Args:
        p: p-values, (..., columns). delta: the probability with which the proof may be wrong.
    """
    safe = p <= delta / p.shape[-1]
    first: NDArray[np.intp] = np.where(safe.any(axis=-1), safe.argmax(axis=-1), -1)
    return first
