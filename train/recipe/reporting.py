"""What a training reports to, such as W&B, is looked for before anything is trained.

A report holds prompts, replies and images. So a recipe may have it written into the run's folder;
what sends it elsewhere, the user has to permit.
"""

from medgym.errors import UserError
from medgym.failures import reason_of
from medgym.permissions import allowed_reports, configuration_file

from .settings import Keys

LOCAL = ("tensorboard",)
"""What writes into the run's folder only."""


def check_reporting(keys: Keys, table: str) -> None:
    """Make sure that what `report_to` names is known, permitted and installed.

    Raises:
        UserError: it is not.
    """
    named = keys.get("report_to")
    every = [named] if isinstance(named, str) else [] if named is None else named
    if not isinstance(every, list) or not all(isinstance(each, str) for each in every):
        raise UserError(f"[{table}] report_to: {named!r} is no name; fix: write names, as texts")
    from transformers.integrations.integration_utils import get_reporting_integration_callbacks

    services = [] if every == ["none"] else every
    if "all" in services:
        raise UserError(
            f'[{table}] report_to = "all" would report to whatever is installed; fix: write names'
        )
    try:
        callbacks = get_reporting_integration_callbacks(services)
        for service in services:
            if service not in {*LOCAL, *allowed_reports()}:
                raise UserError(
                    f"[{table}] report_to: {service} may send prompts, replies and images to "
                    f"others; fix: add --allow-report {service} if you want that (or permit it in "
                    f"{configuration_file()})"
                )
        for callback in callbacks:
            callback()
    except (ImportError, RuntimeError, ValueError) as error:
        raise UserError(
            f"[{table}] report_to: {reason_of(error)}; fix: install it, or remove it there"
        ) from error
