"""`retrieve`: passages and solved cases that match a query, by BM25, with a guard against leaks.

The guard (`allowed`) is asked about each document when it is about to be handed out, and nothing is
handed out but through it: no case with the id, the group or an image (by URI, by pixels, or as a
near duplicate) of the case that is being played, no case outside the training split, and no passage
that names the case or its group. What cannot be checked, as an image that does not open, is
withheld.
"""

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any
from weakref import WeakKeyDictionary

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medgym.case_spec import file_named, parse_spec
from medgym.cases import LETTERS, Case, open_cases
from medgym.errors import UserError
from medgym.files import read_text
from medgym.imaging.opened import OpenedImage
from medgym.imaging.study import ImageRef, open_image
from medgym.leaks.fingerprint import Fingerprint, fingerprint_of
from medgym.leaks.search import is_near
from medgym.sources.clean import published
from medgym.sources.phantom import rules
from medgym.tool import Tool, ToolArgs, ToolResult
from medgym.workspace import Workspace

PASSAGES = Path(__file__).with_name("passages.jsonl")
"""What is searched by default: a few passages about phantoms. They are only about phantoms."""

SHIPPED = {"phantoms": PASSAGES, "phantom-rules": rules.PASSAGES}
"""The files of passages that ship, by name."""

SPLIT = "train"
"""The one split whose cases may be handed out."""

MAX_PASSAGE = 700
"""Characters of one document in an answer; five of them fit into what the episode shows."""

WORD = re.compile(r"[^\W_]+")


class Passage(BaseModel):
    """One line of a file of passages. `group` says which patient or image it is about, if any."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    text: str
    title: str = ""
    group: str | None = None


@dataclass(frozen=True)
class Document:
    """What can be found: its text, and all that the guard asks about.

    Attributes:
        split: of a case; None for a passage.
        images: of a case.
    """

    id: str
    text: str
    group: str | None = None
    split: str | None = None
    images: tuple[ImageRef, ...] = ()

    @cached_property
    def prints(self) -> tuple[Fingerprint, ...]:
        """The fingerprints of `images`, taken once. Raises where one cannot be opened."""
        return tuple(fingerprint_of(open_image(ref)) for ref in self.images)


_ASKED: WeakKeyDictionary[OpenedImage, Fingerprint] = WeakKeyDictionary()


def _print_of(image: OpenedImage) -> Fingerprint:
    """The fingerprint of an image of the case that is played, taken once for all its episodes."""
    found = _ASKED.get(image)
    if found is None:
        found = _ASKED[image] = fingerprint_of(image.start)
    return found


def allowed(document: Document, workspace: Workspace) -> bool:
    """The guard: whether a document may be handed to the policy on the case of `workspace`.

    Images are compared by their pixels and by perceptual hashes, so a copy that was re-encoded,
    resized, made grey or cut by up to 5 % at a side is withheld too (see `medgym.leaks`).
    """
    if workspace.is_named(document.id) or workspace.is_named(document.group):
        return False
    if document.split is None:
        return True
    if published(document.split) != SPLIT:
        return False
    if any(workspace.is_named(ref.location) for ref in document.images):
        return False
    try:
        theirs = document.prints
        ours = [_print_of(image) for image in workspace.images]
        return not any(is_near(one, other) for one in theirs for other in ours)
    except Exception:  # whatever hinders the check, what was not checked is not handed out
        return False


class Retrieve(Tool):
    """Search reference passages and solved cases; returns the best matches as text."""

    name = "retrieve"
    deadline_s = 600.0  # the first call builds the index

    class Args(ToolArgs):
        """What to look for."""

        query: Annotated[str, Field(min_length=1, max_length=300, description="words to look for")]
        k: Annotated[int, Field(ge=1, le=5, description="number of matches")] = 3

    def __init__(self, corpus: str | None = None, passages: str | Path | None = None) -> None:
        """Search the cases of `corpus` and the passages of `passages`.

        Args:
            corpus: cases of the training split, as `"phantom,question=kind:train[:200]"`, which are
                shown with their answers. None for no cases.
            passages: a file of JSON lines `{"id", "text", "title"?, "group"?}`, or one of `SHIPPED`
                by name. By default `phantoms`, where no `corpus` is given, else none.

        The index is built at the first call, once for each process, whatever the number of tools.

        Raises:
            UserError: an unknown corpus, or one of another split.
        """
        if corpus is not None:
            open_cases(corpus)
            if file_named(corpus) is None and published(parse_spec(corpus).split) != SPLIT:
                raise UserError(
                    f"cannot search {corpus}: only cases of the split {SPLIT!r} may be handed out; "
                    f"fix: name SOURCE:{SPLIT}"
                )
        self.corpus = corpus
        named = SHIPPED.get(str(passages), passages)
        self.passages = PASSAGES if corpus is None and passages is None else named

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        """The best `k` matches that the guard allows. `data` holds their `ids` and `scores`."""
        found: list[tuple[Document, float]] = []
        for document, score in index(self.corpus, self.passages).ranked(args.query):
            if allowed(document, workspace):
                found.append((document, score))
                if len(found) == args.k:
                    break
        data = {"ids": [d.id for d, _ in found], "scores": [round(s, 4) for _, s in found]}
        if not found:
            return ToolResult("Nothing was found; other words may help.", data=data)
        lines = (f"[{number}] {document.text}" for number, (document, _) in enumerate(found, 1))
        return ToolResult("\n".join(lines), data=data)


class Index:
    """BM25 over documents. It is only read once it is built, so threads may share it."""

    def __init__(self, documents: Sequence[Document]) -> None:
        import bm25s

        self.documents = tuple(documents)
        self._bm25: Any = bm25s.BM25()
        self._bm25.index([words(d.text) or [""] for d in self.documents], show_progress=False)

    def ranked(self, query: str) -> Iterator[tuple[Document, float]]:
        """The documents that share a word with the query, best first; ties in their own order."""
        known = [word for word in words(query) if word in self._bm25.vocab_dict]
        if not known:
            return
        scores = self._bm25.get_scores(known)
        for place in np.argsort(-scores, kind="stable"):
            if scores[place] <= 0:
                return
            yield self.documents[int(place)], float(scores[place])


def words(text: str) -> list[str]:
    """The words of a text in lower case, without a plural's `s`."""
    found = (word.casefold() for word in WORD.findall(text))
    return [w[:-1] if len(w) > 3 and w.endswith("s") and not w.endswith("ss") else w for w in found]


_indices: dict[tuple[str | None, str | None], Index] = {}
_building = threading.Lock()


def index(corpus: str | None, passages: str | Path | None) -> Index:
    """The index of what is searched, built once for each process. `UserError` as in the readers."""
    key = corpus, None if passages is None else str(passages)
    with _building:
        if key not in _indices:
            documents: list[Document] = []
            if passages is not None:
                documents += read_passages(Path(passages))
            if corpus is not None:
                documents += (of_case(case) for case in open_cases(corpus))
            if not documents:
                raise UserError(
                    f"nothing to search in {corpus or passages}; fix: name a larger one"
                )
            _indices[key] = Index(documents)
        return _indices[key]


def of_case(case: Case) -> Document:
    """A case as what can be found: its question, context, options and answer."""
    options = "; ".join(f"{a}. {text}" for a, text in zip(LETTERS, case.options, strict=False))
    parts = (case.context, case.question, f"Options: {options}" if options else "")
    asked = " ".join(part for part in parts if part)
    text = f"Case: {_short(asked, MAX_PASSAGE - 100)} Answer: {_short(case.answer, 80)}"
    return Document(case.id, text, case.group, case.split, case.images)


def read_passages(path: Path) -> list[Document]:
    """Read a file of passages; an error names the file, the line and the field."""
    documents = []
    for number, line in enumerate(read_text(path, "file of passages").splitlines(), start=1):
        try:
            passage = Passage.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the line"
            raise UserError(f"{path}, line {number}: {where}: {first['msg']}") from error
        text = f"{passage.title}: {passage.text}" if passage.title else passage.text
        documents.append(Document(passage.id, _short(text, MAX_PASSAGE), passage.group))
    return documents


def _short(text: str, length: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 6] + " [cut]"
