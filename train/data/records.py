"""`selection.jsonl`: what was left out of training, and why."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from medgym.storage.atomic import append_line, write_atomic
from medgym.storage.json_files import read_lines

Record = dict[str, object]

UNREADABLE = "unreadable: "
"""How the reason begins why a case was left out whose images cannot be read."""


class Records:
    """`selection.jsonl`: one line for each thing that was left out, with its reason.

    Every line has a `stage` (such as `demonstrations`, `pairs` or `grpo`), the `case` and
    `why`.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "selection.jsonl"

    def add(self, stage: str, lines: Sequence[Mapping[str, object]]) -> None:
        """Append the lines of a stage."""
        if lines:
            append_line(
                self._path, "\n".join(json.dumps({"stage": stage, **line}) for line in lines)
            )

    def rows(self) -> list[Record]:
        """Everything on record."""
        if not self._path.exists():
            return []
        return list(read_lines(self._path))

    def unreadable(self) -> dict[str, str]:
        """The cases that were left out since their images cannot be read, and why."""
        rows = ((str(row["case"]), str(row["why"])) for row in self.rows() if "case" in row)
        return {
            case: why.removeprefix(UNREADABLE) for case, why in rows if why.startswith(UNREADABLE)
        }

    def forget(self, stage: str, after: int = -1) -> None:
        """Drop the lines of a stage, by default all, which a resumed run writes again.

        Args:
            stage: whose lines. after: only those whose `step` is greater.
        """

        def stays(line: Record) -> bool:
            step = line.get("step", after + 1)
            return line["stage"] != stage or (isinstance(step, int) and step <= after)

        kept = [line for line in self.rows() if stays(line)]
        if self._path.exists():
            lines = "".join(json.dumps(line) + "\n" for line in kept)
            write_atomic(self._path, lines.encode("utf-8"))
