"""Failures of the machinery, typed by the boundary at which they happened.

A policy's mistakes are observations, and a user's are `UserError`s. The rest is the machinery: an
endpoint that hangs, a tool that crashes, a worker that is killed, a disk that is full. Such a
failure is retried from a fresh environment, counted, and never scored.

Plug-ins are called inside `at` (where an episode is played) or `calling` (elsewhere). Whatever a
plug-in raises becomes a failure that names it, `SystemExit` and `KeyboardInterrupt` too.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Literal

from medgym.errors import RunError, UserError
from medgym.interruption import is_interruption

Boundary = Literal["policy", "tool", "source", "environment", "worker", "store"]


class Failure(Exception):
    """A part of the machinery failed: `boundary` says where and `reason` why, in one line.

    A `final` failure (an image that does not exist) is not attempted again.
    """

    def __init__(self, boundary: Boundary, reason: str, final: bool = False) -> None:
        super().__init__(f"{boundary}: {reason}")
        self.boundary: Boundary = boundary
        self.reason = reason
        self.final = final

    def __reduce__(self) -> tuple[type["Failure"], tuple[Boundary, str, bool]]:
        return Failure, (self.boundary, self.reason, self.final)


class ContractError(ValueError):
    """A plug-in returned what its contract does not allow; the text says what, and what is."""


def reason_of(error: BaseException) -> str:
    """An exception in at most 200 characters of one line: its type and its first line."""
    first = (_text_of(error).splitlines() or [""])[0]
    name = type(error).__name__
    return f"{name}: {first}"[:200].removesuffix(".") if first else name


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # a plug-in's exception may fail at saying what it is
        return ""


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
        if is_interruption(error):
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
            reason = f"raised {reason_of(error)}" if name else reason_of(error)
        return Failure(boundary, f"{name} {reason}".strip())

    return PlugInCall(typed)


def calling(plug_in: str) -> PlugInCall:
    """A context in which any exception becomes a `RunError` that names the plug-in.

    Args:
        plug_in: what is called, such as `the judge 'vqa'`.
    """

    def typed(error: BaseException) -> RunError:
        said = str(error) if isinstance(error, ContractError) else f"raised {reason_of(error)}"
        return RunError(f"{plug_in} {said}; fix: correct the plug-in")

    return PlugInCall(typed)
