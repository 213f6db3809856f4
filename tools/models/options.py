"""The options that `detect` and `classify` share, and their checks."""

from collections.abc import Mapping
from typing import Literal, TypeVar

from medgym.errors import UserError

Backend = TypeVar("Backend", bound=str)

OfModels = Literal["predicted", "oracle"]
"""The fidelities that these tools can have: nothing finds or names by pixels alone."""


def backend_of(
    tool: str,
    backend: Backend | None,
    fidelity: OfModels | None,
    *,
    of_model: Backend,
    of_gold: Mapping[OfModels, Backend],
    model: str,
) -> Backend:
    """The back end that a spec means.

    Args:
        backend, fidelity, model: as the spec has them.
        of_model: where a model is named, or nothing.
        of_gold: where only a fidelity is named.

    Raises:
        UserError: the back end is of another fidelity.
    """
    if backend is None:
        backend = of_model if model or fidelity is None else of_gold[fidelity]
    own: OfModels = "oracle" if backend == of_gold["oracle"] else "predicted"
    if fidelity not in (None, own):
        raise UserError(
            f"{tool}?backend={backend} is of the fidelity {own}, not {fidelity}; fix: leave one "
            "of both out"
        )
    return backend


def check_told(tool: str, threshold: float, top: int) -> None:
    """Raise `UserError` for a threshold or a number of findings that cannot be."""
    if not 0 <= threshold <= 1:
        raise UserError(f"{tool}: threshold={threshold:g} is no score; fix: give 0 to 1")
    if not 1 <= top <= 100:
        raise UserError(f"{tool}: top={top} is not possible; fix: give 1 to 100")


def share(tool: str, option: str, given: float | None, usual: float) -> float:
    """A share that is given, or the usual one; `UserError` where it cannot be."""
    value = usual if given is None else given
    if not 0 < value <= 1:
        raise UserError(f"{tool}: {option}={value:g} is no share; fix: give more than 0, up to 1")
    return value


def refuse_unused(tool: str, backend: str, given: Mapping[str, object]) -> None:
    """Raise `UserError` for an option that a back end has no use for.

    Args:
        given: such options; one that was not given is None or empty.
    """
    for option, value in given.items():
        if value not in (None, "", "auto"):
            raise UserError(
                f"{tool}?backend={backend} has no use for {option}; fix: remove {option}, or "
                "choose another back end"
            )
