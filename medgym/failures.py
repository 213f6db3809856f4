"""Failures of the machinery, typed by the boundary at which they happened.

A policy's mistakes are observations, and a user's are `UserError`s. The rest is the machinery: an
endpoint that hangs, a tool that crashes, a worker that is killed, a disk that is full. Such a
failure is retried from a fresh environment, counted, and never scored.

Plug-ins are called inside `at` (where an episode is played) or `calling` (elsewhere). Whatever a
plug-in raises becomes a failure that names it, `SystemExit` and `KeyboardInterrupt` too.
"""

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Literal, get_args

from medgym.asked_to_stop import asked_to_stop
from medgym.errors import RunError, UserError
from medgym.redaction import redact_text

Boundary = Literal["policy", "tool", "source", "image", "environment", "worker", "store"]
"""Where an episode meets what failed. `image`: an image of the case cannot be read, so the case is
left out; no policy and no retry can help."""

Withheld = Literal["refused", "filtered", "empty"]
"""Why a server that answered gave no reply of its policy: the model refused, a content filter took
the reply (or did not let the question through), or the message has no text. It is the policy's, so
an evaluation counts it and goes on; but it is no answer, so nothing scores it."""


class Failure(Exception):
    """A part of the machinery failed: `boundary` says where and `reason` why, in one line without
    secrets.

    A `final` failure (an image that does not exist) is not attempted again. A `withheld` reply is a
    failure at the boundary `policy` that is counted under a name of its own.
    """

    def __init__(
        self,
        boundary: Boundary,
        reason: str,
        final: bool = False,
        withheld: Withheld | None = None,
    ) -> None:
        reason = redact_text(reason)
        super().__init__(f"{withheld or boundary}: {reason}")
        self.boundary: Boundary = boundary
        self.reason = reason
        self.final = final
        self.withheld: Withheld | None = withheld

    def __reduce__(self) -> tuple[type["Failure"], tuple[Boundary, str, bool, Withheld | None]]:
        return Failure, (self.boundary, self.reason, self.final, self.withheld)

    @property
    def counted_as(self) -> str:
        """The name under which runs count it."""
        return self.withheld or self.boundary


def withheld_of(failure: str | None) -> Withheld | None:
    """Why a reply was withheld, from the text of a failure as trajectories record it.

    None where the failure was another one, or there was none.
    """
    name = (failure or "").partition(":")[0]
    return next((each for each in get_args(Withheld) if each == name), None)


def unreadable_of(failure: str | None) -> str | None:
    """Why a case's images cannot be read, from the text of a failure as trajectories record it.

    None where the failure was another one, or there was none.
    """
    boundary, _, reason = (failure or "").partition(": ")
    return reason if boundary == "image" else None


class ContractError(ValueError):
    """A plug-in returned what its contract does not allow; the text says what, and what is."""


def reason_of(error: BaseException, said: str | None = None) -> str:
    """An exception in at most 200 characters of one line: its type and its first line.

    `said` stands in place of its text, where a caller has taken something out of that.
    """
    first = ((_text_of(error) if said is None else said).splitlines() or [""])[0]
    name = type(error).__name__
    return f"{name}: {first}"[:200].removesuffix(".") if first else name


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # a plug-in's exception may fail at saying what it is
        return ""


def raised(error: BaseException) -> str:
    """What a plug-in raised, as records may keep it: its type, and where it was raised.

    Its text may hold paths and values, such as a patient's name. It is kept only if
    MEDGYM_TRACEBACK=1 asks for it; then the whole traceback is on stderr, too. Errors of medgym's
    own classes are texts of medgym's own, and are kept.
    """
    if traceback_wanted():
        whole = "".join(traceback.format_exception(error))
        print(redact_text(whole), end="", file=sys.stderr)
        return reason_of(error)
    kind = type(error)
    if kind.__module__.partition(".")[0] == __name__.partition(".")[0]:
        return reason_of(error)
    return f"{kind.__name__}{_system_said(error)}{_place(error)}"


def _system_said(error: BaseException) -> str:
    """What the system says of an error; a text that a plug-in put in its place is left out."""
    if not isinstance(error, OSError) or error.errno is None:
        return ""
    said = os.strerror(error.errno)
    return f": {said}" if error.strerror == said else ""


def traceback_wanted() -> bool:
    """Whether the user asks for errors with all that they say."""
    return os.environ.get("MEDGYM_TRACEBACK") == "1"


def _place(error: BaseException) -> str:
    """` at FILE:LINE`: where medgym called other code last, or where medgym itself raised it."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return ""
    ours = __name__.partition(".")[0]
    inside = [
        number
        for number, (frame, _) in enumerate(frames)
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] == ours
    ]
    frame, line = frames[min(inside[-1] + 1 if inside else 0, len(frames) - 1)]
    return f" at {Path(frame.f_code.co_filename).name}:{line}"


class PlugInCall(AbstractContextManager[None]):
    """The one way in which a plug-in's code is called: inside this context.

    An exception that leaves it becomes what `typed` makes of it. These pass unchanged: failures and
    errors of the user, which have a type already, and a stop that was asked for (see
    `medgym.interruption`).
    """

    def __init__(self, typed: Callable[[BaseException], Exception]) -> None:
        self._typed = typed

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Type the exception, if there is one."""
        if error is None or isinstance(error, Failure | UserError | RunError):
            return
        if asked_to_stop(error):
            return
        raise self._typed(error) from error


def at(boundary: Boundary, name: str = "") -> PlugInCall:
    """A context in which any exception becomes a `Failure` at `boundary`.

    Args:
        boundary: where an episode meets what is called.
        name: of the plug-in; the reason begins with it.
    """

    def typed(error: BaseException) -> Failure:
        if isinstance(error, ContractError):
            reason = str(error)
        else:
            reason = f"raised {raised(error)}" if name else raised(error)
        return Failure(boundary, f"{name} {reason}".strip())

    return PlugInCall(typed)


def calling(plug_in: str) -> PlugInCall:
    """A context in which any exception becomes a `RunError` that names the plug-in.

    Args:
        plug_in: what is called, such as `the judge 'vqa'`.
    """

    def typed(error: BaseException) -> RunError:
        said = str(error) if isinstance(error, ContractError) else f"raised {raised(error)}"
        return RunError(f"{plug_in} {said}; fix: correct the plug-in")

    return PlugInCall(typed)
