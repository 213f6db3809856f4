"""What a training reports to, such as W&B, is looked for before anything is trained."""

from medgym.errors import UserError
from medgym.failures import reason_of

from .settings import Keys


def check_reporting(keys: Keys, table: str) -> None:
    """Make sure that what `report_to` names is known and installed.

    Raises:
        UserError: it is not.
    """
    named = keys.get("report_to")
    if not isinstance(named, str | None):
        every = named if isinstance(named, list) else [named]
        if not all(isinstance(each, str) for each in every):
            raise UserError(
                f"[{table}] report_to: {named!r} is no name; fix: write names, as texts"
            )
    from transformers.integrations.integration_utils import get_reporting_integration_callbacks

    try:
        for callback in get_reporting_integration_callbacks(_named(named)):
            callback()
    except (ImportError, RuntimeError, ValueError) as error:
        raise UserError(
            f"[{table}] report_to: {reason_of(error)}; fix: install it, or remove it there"
        ) from error


def _named(report_to: object) -> object:
    """`report_to` as a list of names, as the libraries' configurations read it."""
    if report_to in (None, "none", "all") or report_to == ["none"]:
        return []
    return [report_to] if isinstance(report_to, str) else report_to
