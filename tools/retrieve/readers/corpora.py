"""What an index is built of: cases of a spec or a file, and files of passages, each as a stream."""

import gzip
import hashlib
import json
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar

from medgym.case_spec import FILE, file_named, parse_spec
from medgym.cases import CaseList, case_hash, open_cases
from medgym.errors import UserError
from medgym.files import open_regular
from medgym.sources.clean import published

from ..documents import Passage, of_case, passages_in
from ..guard import SPLIT
from ..index.manifest import hash_of
from .entry import CorpusEntry as CorpusEntry
from .entry import entries_of
from .markdown import markdown_blocks
from .pubmed import articles

WHAT = "file of passages"
_ENDING = re.compile(r"\.(md|markdown|jsonl|xml|xml\.gz)$", re.IGNORECASE)


class Corpus(ABC):
    """Documents of one name.

    Attributes:
        name: as it was given. kind: cases, or the form of the file.
        count: how many documents there are, where that is known before they are read.
    """

    kind: ClassVar[str]
    count: int | None = None

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    @abstractmethod
    def hash(self) -> str:
        """Of what was read; known once all entries were."""

    @abstractmethod
    def entries(self) -> Iterator[CorpusEntry]:
        """The documents, one after the other."""


class CaseCorpus(Corpus):
    """Cases, in their order."""

    kind: ClassVar[str] = "cases"

    def __init__(self, name: str, cases: CaseList) -> None:
        super().__init__(name)
        self._cases = cases
        self._whole = hashlib.sha256()
        self.count = len(cases)

    @property
    def hash(self) -> str:
        """See `Corpus.hash`."""
        return self._whole.hexdigest()

    def entries(self) -> Iterator[CorpusEntry]:
        """See `Corpus.entries`."""
        self._whole = hashlib.sha256()
        for case in self._cases:
            self._whole.update(case_hash(case).encode())
            found = of_case(case)
            yield CorpusEntry(
                id=case.id, text=found.text, where=self.name, group=case.group, split=case.split,
                modality=case.modality, answers=case.golds, images=case.images,
            )  # fmt: skip


class FileCorpus(Corpus):
    """Passages of a file.

    Args:
        path: the file. name: what the ids of passages begin with where they have none of their own.
    """

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(str(path))
        self.path = path
        self.prefix = name
        open_regular(path, WHAT).close()

    @property
    def hash(self) -> str:
        """See `Corpus.hash`."""
        return hash_of(self.path)

    def _lines(self) -> Iterator[str]:
        with open_regular(self.path, WHAT) as stream:
            for number, line in enumerate(stream, start=1):
                try:
                    yield line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise UserError(
                        f"{self.path}, line {number}: no UTF-8 at byte {error.start} of the line; "
                        "fix: save the file as UTF-8"
                    ) from error


class JsonLines(FileCorpus):
    """`{"id", "text", "title"?, "group"?, "modality"?}`, one a line."""

    kind: ClassVar[str] = "json lines"

    def entries(self) -> Iterator[CorpusEntry]:
        """See `Corpus.entries`."""
        for number, passage in passages_in(self.path, self._lines()):
            yield from entries_of(passage, f"{self.path}, line {number}")


class MarkdownFile(FileCorpus):
    """Markdown: a passage for each block of text, titled by the headings above it."""

    kind: ClassVar[str] = "markdown"

    def entries(self) -> Iterator[CorpusEntry]:
        """See `Corpus.entries`."""
        for number, (line, title, text) in enumerate(markdown_blocks(self._lines()), start=1):
            passage = Passage(id=f"{self.prefix}#{number}", text=text, title=title)
            yield from entries_of(passage, f"{self.path}, line {line}")


class PubmedFile(FileCorpus):
    """XML of PubMed's form, which may be packed by gzip: a passage for each article."""

    kind: ClassVar[str] = "pubmed"

    def entries(self) -> Iterator[CorpusEntry]:
        """See `Corpus.entries`."""
        with open_regular(self.path, WHAT) as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream: BinaryIO = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]
            try:
                for each in articles(self.path, stream):
                    passage = Passage(
                        id=f"pmid/{each.pmid}",
                        text=" ".join(each.abstract) or each.title,
                        title=each.title if each.abstract else "",
                    )
                    yield from entries_of(passage, f"{self.path}, line {each.line}")
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise UserError(f"{self.path} is damaged ({error}); fix: copy it again") from error


def corpora_of(names: Sequence[str]) -> list[Corpus]:
    """What names stand for: files by their ending, folders by the files in them, else cases.

    Raises:
        UserError: a file that cannot be read, unknown cases, or cases of another split.
    """
    found: list[Corpus] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if _ENDING.search(each.name))
            if not inside:
                raise UserError(f"{name} holds no .md, .jsonl or .xml file; fix: name another one")
            found += (_file(each, each.relative_to(path).as_posix()) for each in inside)
        elif _ENDING.search(name) and not _is_cases(path):
            found.append(_file(path, path.name))
        else:
            found.append(_cases(name))
    return found


def _cases(spec: str) -> CaseCorpus:
    if file_named(spec) is None and published(parse_spec(spec).split) != SPLIT:
        raise UserError(
            f"cannot index {spec}: only cases of the split {SPLIT!r} may be handed out; fix: name "
            f"SOURCE:{SPLIT}"
        )
    return CaseCorpus(spec, open_cases(spec))


def _file(path: Path, name: str) -> FileCorpus:
    ending = path.name.lower()
    if ending.endswith(".jsonl"):
        return JsonLines(path, name)
    return (PubmedFile if ending.endswith((".xml", ".xml.gz")) else MarkdownFile)(path, name)


def _is_cases(path: Path) -> bool:
    """Whether a file of JSON lines holds cases, by its first line."""
    if not FILE.fullmatch(str(path)):
        return False
    with open_regular(path, "file of cases or passages") as stream:
        try:
            first = json.loads(stream.readline(1 << 22))
        except (ValueError, RecursionError):
            return False
    return isinstance(first, dict) and "question" in first
