"""The checks of options that `detect` and `classify` share."""

from medgym.errors import UserError


def check_told(tool: str, threshold: float, top: int) -> None:
    """Raise `UserError` for a threshold or a number of findings that cannot be."""
    if not 0 <= threshold <= 1:
        raise UserError(f"{tool}: threshold={threshold:g} is no score; fix: give 0 to 1")
    if not 1 <= top <= 100:
        raise UserError(f"{tool}: top={top} is not possible; fix: give 1 to 100")


def check_share(tool: str, option: str, value: float) -> None:
    """Raise `UserError` for a share that is not one."""
    if not 0 < value <= 1:
        raise UserError(f"{tool}: {option}={value:g} is no share; fix: give more than 0, up to 1")


def refuse_model(tool: str, backend: str, model: str) -> None:
    """Raise `UserError` for a model that a back end of gold is given."""
    if model:
        raise UserError(
            f"{tool}?backend={backend} reads gold, not the model {model}; fix: remove model"
        )
