"""Failures of the machinery, typed by the boundary at which they happened.

A policy's mistakes are observations, and a user's are `UserError`s. The rest is the machinery: an
endpoint that hangs, a tool that crashes, a worker that is killed, a disk that is full. Such a
failure is retried from a fresh environment, counted, and never scored.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from medgym.errors import RunError, UserError

Boundary = Literal["policy", "tool", "environment", "worker", "store"]

Withheld = Literal["refused", "filtered", "empty"]
"""Why a server that answered gave no reply of its policy: the model refused, a content filter took
the reply (or did not let the question through), or the message has no text. It is the policy's, so
an evaluation counts it and goes on; but it is no answer, so nothing scores it."""


class Failure(Exception):
    """A part of the machinery failed: `boundary` says where and `reason` why, in one line.

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


def reason_of(error: BaseException) -> str:
    """An exception in at most 200 characters of one line: its type and its first line."""
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"[:200].removesuffix(".")


@contextmanager
def at(boundary: Boundary) -> Iterator[None]:
    """Turn any exception into a `Failure` at `boundary`.

    Failures, errors of the user and cancellation pass through unchanged.
    """
    try:
        yield
    except (Failure, UserError, RunError):
        raise
    except Exception as error:
        raise Failure(boundary, reason_of(error)) from error
