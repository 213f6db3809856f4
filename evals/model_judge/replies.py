"""What a judge replied, kept in the run's folder, so that nothing is asked twice.

`judge-replies.jsonl` has a line for each reply. It is found by the prompt and its hash, the judge's
spec and version, the hash of the case, and the text that was judged.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medgym.errors import RunError
from medgym.messages import Usage
from medgym.storage.atomic import append_line

REPLIES = "judge-replies.jsonl"
"""The file's name in the folder of a run."""


@dataclass(frozen=True)
class JudgeRequest:
    """One thing to judge.

    Attributes:
        case, case_hash: whose answer it is.
        text: what is judged.
        data: what the judge is shown, see `data_of`.
    """

    case: str
    case_hash: str
    text: str
    data: dict[str, object]

    def key(self, *judge: str) -> str:
        """What names the request to one judge, by one prompt."""
        parts = json.dumps([*judge, self.case_hash, self.text])
        return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()


class JudgeReplies:
    """The replies that a judge gave, by the keys of requests.

    Args:
        folder: of the run; None where nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self.path = None if folder is None else folder / REPLIES
        self._found: dict[str, str] = {}
        self._took: dict[str, Usage] = {}
        for row in self._rows():
            if isinstance(row, dict) and isinstance(row.get("reply"), str):
                self._found[str(row.get("key"))] = row["reply"]
                if (took := _usage(row.get("usage"))) is not None:
                    self._took[str(row.get("key"))] = took

    def __len__(self) -> int:
        return len(self._found)

    def get(self, key: str) -> str | None:
        """The reply to a request; None where there is none yet."""
        return self._found.get(key)

    def took(self, key: str) -> Usage | None:
        """The tokens of a reply that was kept; None where they are not known."""
        return self._took.get(key)

    def put(self, key: str, reply: str, usage: Usage | None = None, **facts: str) -> None:
        """Keep a reply at once, with what the request was, and the tokens that it took.

        Raises:
            RunError: the file cannot be written.
        """
        self._found[key] = reply
        said: dict[str, object] = {}
        if usage is not None:
            self._took[key] = usage
            said = {"usage": vars(usage)}
        if self.path is None:
            return
        line = json.dumps({"key": key, **facts, **said, "reply": reply}, ensure_ascii=True)
        try:
            # Another process, or a line that a killed one left unfinished, may have come between.
            append_line(self.path, line if self._ends_well() else f"\n{line}")
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be written ({error.strerror}); fix: make room there, then run "
                "the same command again"
            ) from error

    def _rows(self) -> Iterator[object]:
        if self.path is None or not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                yield json.loads(line)
            except ValueError:  # the end of a file whose writer was killed; it is asked again
                continue

    def _ends_well(self) -> bool:
        assert self.path is not None
        if not self.path.exists() or not self.path.stat().st_size:
            return True
        with self.path.open("rb") as stream:
            stream.seek(-1, 2)
            return stream.read(1) == b"\n"


def _usage(row: object) -> Usage | None:
    """The tokens of a line; None where it does not say them."""
    known = row if isinstance(row, dict) else {}
    read, written, cached = (known.get(each) for each in vars(Usage(0, 0)))
    if type(read) is not int or type(written) is not int:
        return None
    return Usage(read, written, cached if type(cached) is int else None)
