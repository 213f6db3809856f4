"""Answers that were paid for, kept in a file of lines, so that a search that resumes asks again for
none of them."""

import json
import threading
from pathlib import Path
from typing import Any


class Kept:
    """What was found under a key, in memory and in a file; a line that was cut off is none.

    Attributes:
        path: the file; None where nothing is kept longer than the process.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._found: dict[str, Any] = {}
        if path is None or not path.exists():
            return
        whole = path.read_bytes()
        end = whole.rfind(b"\n") + 1
        for line in whole[:end].splitlines():
            row = json.loads(line)
            self._found[row["key"]] = row["value"]
        if end < len(whole):  # the process was killed while it wrote
            path.write_bytes(whole[:end])

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def __getitem__(self, key: str) -> Any:
        return self._found[key]

    def put(self, key: str, value: Any) -> None:
        """Keep a value."""
        line = json.dumps({"key": key, "value": value}, ensure_ascii=False) + "\n"
        with self._lock:
            self._found[key] = value
            if self.path is not None:
                with self.path.open("a", encoding="utf-8") as stream:
                    stream.write(line)
