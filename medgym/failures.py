"""Failures of the machinery, typed by the boundary at which they happened.

A policy's mistakes are observations and a user's are `UserError`s; what is left is the machinery:
an endpoint that hangs, a tool that crashes, a worker that is killed, a disk that is full. Such a
failure is retried from a fresh environment, counted, and never scored.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from medgym.errors import RunError, UserError

Boundary = Literal["policy", "tool", "environment", "worker", "store"]


class Failure(Exception):
    """Something of the machinery failed: `boundary` says where, `reason` what, in one line.

    One that is `final` (an image that does not exist) is not worth another attempt.
    """

    def __init__(self, boundary: Boundary, reason: str, final: bool = False) -> None:
        super().__init__(f"{boundary}: {reason}")
        self.boundary: Boundary = boundary
        self.reason = reason
        self.final = final

    def __reduce__(self) -> tuple[type["Failure"], tuple[Boundary, str, bool]]:
        return Failure, (self.boundary, self.reason, self.final)


def reason_of(error: BaseException) -> str:
    """An exception as a part of one line, of at most 200 characters: its type and first line."""
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"[:200].removesuffix(".")


@contextmanager
def at(boundary: Boundary) -> Iterator[None]:
    """Turn any exception into a `Failure` at `boundary`.

    What is a failure already, what the user has to fix, and cancelling pass through.
    """
    try:
        yield
    except (Failure, UserError, RunError):
        raise
    except Exception as error:
        raise Failure(boundary, reason_of(error)) from error
