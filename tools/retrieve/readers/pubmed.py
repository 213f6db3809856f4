"""Articles of an XML file of PubMed's form: `PubmedArticle` with PMID, title and abstract.

The file is read as a stream, so its size does not matter. An entity that the file declares is
refused, since one can grow without bound, and nothing outside the file is ever read.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

from medgym.errors import UserError

ARTICLE = "PubmedArticle"
LONGEST = 200_000
"""Characters of one article."""

_BLOCK = 1 << 16
_PARTS = {"PMID": "MedlineCitation", "ArticleTitle": "Article", "AbstractText": "Abstract"}
"""What is read, and what it stands in: articles that are cited have PMIDs and titles too, and a
translated abstract stands in another element."""


@dataclass
class Article:
    """What is read of an article, and the line at which it begins."""

    line: int
    pmid: str = ""
    title: str = ""
    abstract: list[str] = field(default_factory=list)
    size: int = 0


def articles(path: Path, stream: BinaryIO) -> Iterator[Article]:
    """The articles of a file.

    Raises:
        UserError: it is no XML, it declares an entity, or an article has no PMID or no text; the
            file and the line are named.
    """
    reader = _Reader(path)
    try:
        while block := stream.read(_BLOCK):
            reader.parser.Parse(block, False)
            yield from reader.taken()
        reader.parser.Parse(b"", True)
    except expat.ExpatError as error:
        said = expat.errors.messages.get(error.code, str(error))
        raise UserError(f"{path}, line {error.lineno}: no XML: {said}; fix: correct it") from error
    except (LookupError, ValueError) as error:  # an encoding that Python or expat does not know
        raise UserError(f"{path}: {error}; fix: save the file as UTF-8") from error
    yield from reader.taken()


class _Reader:
    """Collects articles as expat meets them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._article: Article | None = None
        self._inside: list[str] = []
        self._text: list[str] | None = None
        self._depth = 0
        self._label = ""
        self._done: list[Article] = []
        self.parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.EntityDeclHandler = self._entity
        parser.SkippedEntityHandler = self._skipped

    def taken(self) -> list[Article]:
        """The articles that are complete by now."""
        done, self._done = self._done, []
        return done

    def _error(self, said: str, line: int | None = None) -> UserError:
        return UserError(f"{self._path}, line {line or self.parser.CurrentLineNumber}: {said}")

    def _entity(self, name: str, *_: object) -> None:
        raise self._error(f"it declares the entity {name[:40]!r}; fix: write its text instead")

    def _skipped(self, name: str, *_: object) -> None:
        raise self._error(f"the entity {name[:40]!r} is not known; fix: write its text instead")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == ARTICLE:
            self._article = Article(self.parser.CurrentLineNumber)
            self._inside = []
        self._inside.append(name)
        if self._article is None or self._text is not None:
            return
        if name in _PARTS and self._inside[-2:-1] == [_PARTS[name]]:
            self._text, self._depth = [], len(self._inside)
            self._label = attributes.get("Label", "")

    def _characters(self, text: str) -> None:
        if self._article is None or self._text is None:
            return
        self._article.size += len(text)
        if self._article.size > LONGEST:
            raise self._error(f"an article has more than {LONGEST:,} characters; fix: correct it")
        self._text.append(text)

    def _end(self, name: str) -> None:
        article = self._article
        if article is not None and self._text is not None and len(self._inside) == self._depth:
            text, self._text = " ".join("".join(self._text).split()), None
            if name == "PMID":
                article.pmid = article.pmid or text
            elif name == "ArticleTitle":
                article.title = article.title or text
            elif text:
                article.abstract.append(f"{self._label}: {text}" if self._label else text)
        if self._inside:
            self._inside.pop()
        if name == ARTICLE and article is not None:
            if not article.pmid.isdecimal():
                raise self._error("an article without a PMID; fix: correct it", article.line)
            if not (article.title or article.abstract):
                raise self._error(
                    f"article {article.pmid} has neither title nor abstract; fix: remove it",
                    article.line,
                )
            self._done.append(article)
            self._article = None
