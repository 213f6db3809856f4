"""The fingerprints of many images: in a few threads, with a bounded number of images in memory."""

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medgym.errors import UserError
from medgym.failures import reason_of
from medgym.imaging.study import ImageRef
from medgym.leaks.fingerprint import Fingerprint, fingerprint, picture_of
from medgym.leaks.kept import KeptFingerprints

THREADS = min(4, os.cpu_count() or 1)
"""Images that are decoded at once. Each is let go once its fingerprint is taken."""


@dataclass
class Scanned:
    """What was found of images.

    Attributes:
        prints: the fingerprints of different images, by number.
        refs: where each of them is, by number: the first place that was met.
        number: the number of each image that was named.
        unreadable: why an image could not be opened.
    """

    prints: list[Fingerprint] = field(default_factory=list)
    refs: list[ImageRef] = field(default_factory=list)
    number: dict[ImageRef, int] = field(default_factory=dict)
    unreadable: dict[ImageRef, str] = field(default_factory=dict)

    def picture(self, number: int) -> NDArray[np.uint8] | None:
        """The image of a number for a closer comparison; None where it cannot be opened now."""
        from medgym.leaks.search import CLOSE

        try:
            return picture_of(self.refs[number], CLOSE)
        except UserError:
            return None


def scan(
    refs: Iterable[ImageRef],
    kept: KeptFingerprints | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Scanned:
    """Take the fingerprints of images; those that cannot be opened are named.

    Args:
        refs: where they are. One that is named twice is opened once.
        kept: what is known already, and where the rest is added.
        advance: called after each different image.
    """
    found = Scanned()
    by_hash: dict[str, int] = {}
    pending: deque[tuple[ImageRef, Future[Fingerprint | str]]] = deque()
    seen: set[ImageRef] = set()

    def take(ref: ImageRef, made: Fingerprint | str) -> None:
        if isinstance(made, str):
            found.unreadable[ref] = made
        else:
            number = by_hash.setdefault(made.sha256, len(found.prints))
            if number == len(found.prints):
                found.prints.append(made)
                found.refs.append(ref)
            found.number[ref] = number
        advance()

    def finish() -> None:
        ref, future = pending.popleft()
        made = future.result()
        if kept is not None and not isinstance(made, str):
            kept.put(ref, made)
        take(ref, made)

    with ThreadPoolExecutor(THREADS, thread_name_prefix="fingerprint") as threads:
        try:
            for each in refs:
                ref = each.model_copy(update={"role": "current"})
                if ref in seen:
                    continue
                seen.add(ref)
                known = None if kept is None else kept.get(ref)
                if known is not None:
                    take(ref, known)
                    continue
                pending.append((ref, threads.submit(_made, ref)))
                if len(pending) > 2 * THREADS:
                    finish()
            while pending:
                finish()
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
    return found


def _made(ref: ImageRef) -> Fingerprint | str:
    try:
        return fingerprint(ref)
    except UserError as error:
        return str(error)
    except Exception as error:  # a stranger's source may fail as it likes
        return reason_of(error)
