"""How many cases would tell two policies apart."""

from math import ceil, sqrt

from medgym.errors import UserError


def power(cases: float, only_first: float, only_second: float, level: float = 0.05) -> float:
    """The chance that a paired test at `level` tells two policies apart.

    By the normal approximation of McNemar's test (Connor 1987).

    Args:
        cases: how many independent cases.
        only_first, only_second: the shares of cases that only the one, only the other gets right.
    """
    from scipy.special import ndtr, ndtri

    gap, discordant = _shares(only_first, only_second)
    if not gap:
        return level
    spread = sqrt(discordant - gap**2)
    reach = sqrt(cases) * gap - ndtri(1 - level / 2) * sqrt(discordant)
    return float(ndtr(reach / spread)) if spread else float(reach > 0)


def cases_needed(
    only_first: float,
    only_second: float,
    *,
    power: float = 0.8,
    level: float = 0.05,
    design_effect: float = 1.0,
) -> int:
    """How many cases tell two policies apart with a given chance, by a paired test at `level`.

    Args:
        only_first, only_second: the shares of cases that only the one, only the other gets right.
        power: the chance with which they shall be told apart.
        design_effect: by how much cases of one group tell less than independent ones; 1 if all are.

    Raises:
        UserError: the shares are equal, so that no number of cases would do; or they are none.
    """
    from scipy.special import ndtri

    gap, discordant = _shares(only_first, only_second)
    if not gap:
        raise UserError("equal policies are never told apart; fix: give shares that differ")
    if not 0 < power < 1:
        raise UserError(f"a power of {power} is no chance; fix: give one between 0 and 1")
    reach = ndtri(1 - level / 2) * sqrt(discordant) + ndtri(power) * sqrt(discordant - gap**2)
    needed = design_effect * float(reach / gap) ** 2
    return ceil(needed)


def smallest_difference(
    cases: float, discordant: float, *, chance: float = 0.8, level: float = 0.05
) -> float | None:
    """The smallest difference of two policies that so many cases show with a given chance.

    Args:
        cases: how many independent cases.
        discordant: the share of cases that exactly one of the two gets right.

    Returns:
        The difference as a share; None where not even one of all discordant cases would be shown.
    """
    from scipy.optimize import brentq

    def missing(gap: float) -> float:
        return power(cases, (discordant - gap) / 2, (discordant + gap) / 2, level) - chance

    discordant = min(discordant, 1 - 1e-9)
    if discordant <= 0 or missing(discordant) < 0:
        return None
    return float(brentq(missing, 1e-9, discordant))


def _shares(only_first: float, only_second: float) -> tuple[float, float]:
    """The gap between two shares of discordant cases, and their sum."""
    if not (0 <= only_first <= 1 and 0 <= only_second <= 1 and only_first + only_second <= 1):
        raise UserError(
            f"{only_first} and {only_second} are no shares of one set of cases; fix: give two "
            "numbers from 0 to 1 whose sum is at most 1"
        )
    return abs(only_first - only_second), only_first + only_second
