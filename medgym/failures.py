"""Failures of the machinery, typed by the boundary at which they happened.

A policy's mistakes are observations, and a user's are `UserError`s. The rest is the machinery: an
endpoint that hangs, a tool that crashes, a worker that is killed, a disk that is full. Such a
failure is retried from a fresh environment, counted, and never scored.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from medgym.errors import RunError, UserError

Boundary = Literal["policy", "tool", "environment", "worker", "store"]


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
