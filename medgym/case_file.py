"""A file of cases as `medgym.cases.write_cases` writes it: JSON lines, each read when it is asked
for."""

import os
import weakref
import zlib
from array import array
from pathlib import Path

from pydantic import ValidationError

from medgym.case import Case
from medgym.case_paths import with_absolute_paths
from medgym.case_spec import write_spec
from medgym.errors import UserError
from medgym.files import open_regular
from medgym.lazy_sequence import LazySequence


class CaseFile(LazySequence[Case]):
    """The cases of a file, of which only the places of their lines are kept.

    The file stays open, so that it may be replaced or removed meanwhile. A line that was written
    over is noticed.

    Args:
        path: the file. Relative paths of images in it count from its folder.

    Raises:
        UserError: the file cannot be read, or, of a case that is asked for, the line holds none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path.parent.absolute()
        self._starts, self._ends = array("q"), array("q")
        self._sums, self._lines = array("I"), array("I")
        stream = open_regular(path, "file of cases")
        try:
            self._descriptor = os.dup(stream.fileno())
            weakref.finalize(self, os.close, self._descriptor)
            number = end = 0
            for read in stream:
                for line in read.splitlines(keepends=True):
                    number, start, end = number + 1, end, end + len(line)
                    if line.decode().strip():
                        self._starts.append(start)
                        self._ends.append(end)
                        self._sums.append(zlib.crc32(line))
                        self._lines.append(number)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"cannot read the cases in {path} ({error}); fix: replace it"
            ) from error
        finally:
            stream.close()

    def __reduce__(self) -> tuple[type["CaseFile"], tuple[Path]]:
        return CaseFile, (self._path,)

    def __len__(self) -> int:
        return len(self._starts)

    def line(self, place: int) -> int:
        """The number of the line of a case, from 1."""
        return self._lines[place]

    def item(self, index: int) -> Case:
        """Read a case."""
        start, end = self._starts[index], self._ends[index]
        try:
            line = os.pread(self._descriptor, end - start, start)
        except OSError as error:
            raise UserError(
                f"cannot read the cases in {self._path} ({error.strerror}); fix: check the file"
            ) from error
        where = f"{self._path}, line {self.line(index)}"
        if zlib.crc32(line) != self._sums[index]:
            raise UserError(
                f"{where} was changed after it was opened; fix: let the file be, and run the same "
                "command again"
            )
        try:
            case = Case.model_validate_json(line.decode())
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "the line"
            table = write_spec("table", [("path", str(self._path))], "all")
            raise UserError(
                f"{where}: {field}: {first['msg']}; fix: correct it, or write "
                f"{table} where it is a table of your own and no file of cases"
            ) from error
        return with_absolute_paths(case, self._folder)
