"""Logs of a stored run in another harness's form: `medgym score RUN --log-format inspect`."""

import importlib
from enum import StrEnum
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from medgym.errors import UserError, missing_library
from medgym.storage.run_folder import RunFolder

from ..outcomes.outcome import outcome_of
from ..outcomes.stored import stored_episodes
from .logged import Logged, LoggedEpisode

LOGS = "logs"
"""The folder of a run in which its logs lie, each form in a folder of its own."""


class LogForm(StrEnum):
    """The harness in whose form a log is written."""

    INSPECT = "inspect"
    LMMS_EVAL = "lmms-eval"


def require_log_form(form: LogForm, out: Path | None) -> None:
    """Make sure, before anything is played, that such logs can be written.

    Raises:
        UserError: there is no run's folder to write them into, or inspect_ai is missing.
    """
    if out is None:
        raise UserError(
            "a log is written into the folder of a run; fix: add --out runs/NAME, or omit "
            "--log-format"
        )
    if form is LogForm.INSPECT:
        require_inspect()


def require_inspect() -> None:
    """`UserError` where inspect_ai is not installed, whose own classes write its logs."""
    try:
        importlib.import_module("inspect_ai")
    except ImportError as error:
        raise missing_library(error) from error


def write_logs(folder: RunFolder, form: LogForm, *, policy: str = "") -> Logged:
    """Write the logs of a stored run; a log of before is replaced.

    Args:
        policy: of a training, which of the policies that it judged.

    Raises:
        UserError: the run has no episodes, a case cannot be found or has changed, inspect_ai is
            missing.
    """
    if form is LogForm.INSPECT:
        require_inspect()
        from .inspect_log import write_inspect_logs as write
    else:
        from .lmms_eval import write_lmms_eval as write
    stored = stored_episodes(folder, policy)
    benchmarks = (
        (name, (LoggedEpisode(case, each, outcome_of(case, each, name)) for _, case, each in found))
        for name, found in groupby(stored, key=itemgetter(0))
    )
    return write(folder, benchmarks, folder.path / LOGS / form.value)
