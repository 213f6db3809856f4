"""`retrieve`: passages and solved cases that match a query, with a guard against leaks.

By default BM25 over a few passages or the cases of a spec. With an index that `medgym index build`
wrote, also by vectors of texts and images. Either way the guard (`guard.allowed`) is asked about
each document that is about to be handed out.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from medgym.case_spec import file_named, parse_spec
from medgym.cases import open_cases
from medgym.errors import UserError
from medgym.sources.clean import published
from medgym.sources.phantom import rules
from medgym.tool import Tool, ToolArgs, ToolResult
from medgym.workspace import Workspace

from .bm25 import Bm25
from .documents import Document, of_case, read_passages
from .guard import SPLIT, allowed
from .indexed import GAMMA, IndexedSearch, Selection, replaced

PASSAGES = Path(__file__).with_name("passages.jsonl")
"""What is searched by default: a few passages about phantoms. They are only about phantoms."""

SHIPPED = {"phantoms": PASSAGES, "phantom-rules": rules.PASSAGES}
"""The files of passages that ship, by name."""


class Retrieve(Tool):
    """Search reference passages and solved cases; returns the best matches as text."""

    name = "retrieve"
    deadline_s = 600.0  # the first call builds the index

    class Args(ToolArgs):
        """What to look for."""

        query: Annotated[str, Field(min_length=1, max_length=300, description="words to look for")]
        k: Annotated[int, Field(ge=1, le=5, description="number of matches")] = 3

    def __init__(
        self,
        corpus: str | None = None,
        passages: str | Path | None = None,
        index: str | Path | None = None,
        select: Selection = "k",
        gamma: float = GAMMA,
    ) -> None:
        """Search the cases of `corpus` and the passages of `passages`, or an index.

        Args:
            corpus: cases of the training split, as `"phantom,question=kind:train[:200]"`, which are
                shown with their answers. None for no cases.
            passages: a file of JSON lines `{"id", "text", "title"?, "group"?}`, or one of `SHIPPED`
                by name. By default `phantoms`, where no `corpus` is given, else none.
            index: the folder of an index that `medgym index build` wrote, in place of both.
            select: of an index, how many matches are handed out: as many as the call says (`k`);
                of these only such whose score is close to the best (`ratio`); or always as many as
                `medgym index calibrate` found (`calibrated`).
            gamma: of `ratio`: the least part of the best score.

        The index of a corpus is built at the first call, once for each process, whatever the number
        of tools.

        Raises:
            UserError: an unknown corpus, one of another split, or no such index.
        """
        if index is not None and (corpus is not None or passages is not None):
            raise UserError(
                "retrieve was given an index beside cases or passages; fix: build one index of all "
                "by medgym index build"
            )
        if index is None and (select != "k" or gamma != GAMMA):
            raise UserError("select and gamma are for an index; fix: add index=DIR, or omit them")
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
        self._given = corpus, passages, index, select, gamma
        self._indexed = None if index is None else IndexedSearch(Path(index), select, gamma)
        if self._indexed is not None:
            vars(self)["Args"] = self._indexed.form
            vars(self)["version"] = f"{self.version}-{self._indexed.state}"
            if self._indexed.needs_model:
                self.resources = {"num_cpus": 1}

    def __reduce__(self) -> tuple[Any, ...]:
        # Elsewhere the index is opened again.
        kept = {key: each for key, each in vars(self).items() if key not in ("Args", "_indexed")}
        return type(self), self._given, kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        if self._indexed is not None and state["version"] != self.version:
            raise replaced(self._indexed.folder)
        vars(self).update(state)

    @property
    def description(self) -> str:
        """What the policy reads: what can be looked for differs between indices."""
        return super().description if self._indexed is None else self._indexed.description

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        """The best `k` matches that the guard allows. `data` holds their `ids` and `scores`."""
        if self._indexed is not None:
            return self._indexed.find(args, workspace)
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

    def __init__(self, documents: list[Document]) -> None:
        self.documents = tuple(documents)
        self._bm25 = Bm25.of([document.text for document in documents])

    def ranked(self, query: str) -> Iterator[tuple[Document, float]]:
        """The documents that share a word with the query, best first; ties in their own order."""
        for place, score in self._bm25.ranked(query):
            yield self.documents[place], score


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
