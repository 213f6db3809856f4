"""Bytes that readers of files can read: a file without a name, which lasts as long as its study."""

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any
from weakref import WeakKeyDictionary

from medgym.errors import UserError


class HeldFile:
    """A file without a name.

    Args:
        name: what errors call it, such as "'a/b.png' of images.zip".

    Attributes:
        name: as the argument.
        path: where readers find it while this object lives.
    """

    def __init__(self, name: str, data: bytes = b"") -> None:
        self.name = name
        self.file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lasts as long as this
        self.file.write(data)
        self.file.flush()
        self.path = Path(f"/dev/fd/{self.file.fileno()}")

    @contextmanager
    def named(self) -> Iterator[None]:
        """A context in which errors name what the file is, and not where it is held."""
        try:
            yield
        except UserError as error:
            said = str(error).replace(str(self.path), self.name)
            raise type(error)(said) from error

    def keep_for(self, study: Any) -> None:
        """Keep the file as long as the study that reads it."""
        study.name = self.name
        _HELD[study] = self


_HELD: WeakKeyDictionary[Any, HeldFile] = WeakKeyDictionary()


def naming(study: object) -> AbstractContextManager[None]:
    """A context in which a study's errors name what it is of."""
    held = _HELD.get(study)
    return nullcontext() if held is None else held.named()
