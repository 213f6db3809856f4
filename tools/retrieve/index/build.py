"""Builds an index: a stream of documents in, a folder out, whole or not at all."""

import itertools
import secrets
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from PIL import Image

from medgym.errors import RunError, UserError
from medgym.failures import reason_of
from medgym.imaging.opened import opened_image
from medgym.imaging.study import ImageRef
from medgym.leaks.fingerprint import Fingerprint
from medgym.sources.clean import published
from medgym.storage.atomic import UNFINISHED, move_whole

from ..documents import prints_of
from ..embedders.embedder import Embedder
from ..embedders.named import embedder_of, state_of
from ..guard import SPLIT
from ..readers.corpora import Corpus, CorpusEntry
from .manifest import NAME, VERSION, Manifest, Space, hashes_of, write_manifest
from .writing import PartWriter

SIDE = 256
"""The longer side at which an image of a case is embedded."""

THREADS = 4
FIT = 50_000
"""Texts of which an embedder is given some to adapt to."""

_LIBRARIES = ("bm25s", "numpy", "scipy", "pillow", "usearch", "transformers", "torch")

Opened = tuple[ImageRef, Sequence[Fingerprint], Image.Image]


@dataclass
class _Taken:
    """What was taken so far."""

    ids: dict[str, str] = field(default_factory=dict)
    cases: int = 0
    left_out: dict[str, tuple[int, str]] = field(default_factory=dict)

    def leave_out(self, reason: str, entry: CorpusEntry) -> None:
        count, first = self.left_out.get(reason, (0, entry.id))
        self.left_out[reason] = count + 1, first

    def check(self, entry: CorpusEntry) -> None:
        where = self.ids.get(entry.id)
        if where is not None:
            again = where == entry.where
            fix = "give each an id of its own; of files of one name, name a folder that holds both"
            fix = "name it once" if again else fix
            raise UserError(
                f"two documents have the id {entry.id!r}: {where} and "
                f"{'the same again' if again else entry.where}; fix: {fix}"
            )
        self.ids[entry.id] = entry.where


def build_index(
    corpora: Sequence[Corpus],
    out: Path,
    embedders: Sequence[str],
    advance: Callable[[int], None] = lambda n: None,
) -> Manifest:
    """Build the index of corpora in a new folder, or in place of an older index.

    Args:
        embedders: their specs.
        advance: called with 1 after each document.

    Raises:
        UserError: an unknown embedder, a folder that is no index, a document that is wrong, or
            nothing to search.
    """
    made = [embedder_of(spec) for spec in embedders]
    for each in made:
        if [other.name for other in made].count(each.name) > 1:
            raise UserError(f"the embedder {each.name} is named twice; fix: name it once")
    check_place(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    root = out.parent / f"{UNFINISHED}index-{secrets.token_hex(8)}"
    try:
        root.mkdir()
        manifest = _built(corpora, root, embedders, made, advance)
        move_whole(root, out)
    except OSError as error:
        raise RunError(
            f"cannot write {out} ({error.strerror}); fix: choose another place, or free the disk"
        ) from error
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return manifest


def check_place(out: Path) -> None:
    """`UserError` where something else than an index would be replaced."""
    taken = out.is_symlink() or (out.exists() and not out.is_dir())
    if taken or (out.is_dir() and any(out.iterdir()) and not (out / NAME).is_file()):
        raise UserError(f"{out} exists and is no index; fix: choose another name or remove it")


def _built(
    corpora: Sequence[Corpus],
    root: Path,
    specs: Sequence[str],
    embedders: Sequence[Embedder],
    advance: Callable[[int], None],
) -> Manifest:
    taken = _Taken()
    writers: dict[str | None, PartWriter] = {}
    counts: dict[str, int] = {}
    for entry, images in _opened(_allowed(corpora, taken, counts)):
        advance(1)
        if isinstance(images, str):
            taken.leave_out("an image cannot be read", entry)
            continue
        writer = writers.get(entry.modality)
        if writer is None:
            writer = PartWriter(root, f"parts/{len(writers)}", entry.modality, embedders)
            writers[entry.modality] = writer
        taken.cases += entry.split is not None
        writer.add(entry.row, images)
    for writer in writers.values():
        writer.end_documents()
    if not writers:
        names = ", ".join(corpus.name for corpus in corpora)
        raise UserError(f"nothing to search in {names}{_why(taken)}; fix: name a larger one")
    spaces = _fitted(root, specs, embedders, writers.values())
    parts = tuple(writer.finish() for writer in writers.values())
    manifest = Manifest(
        version=VERSION,
        medgym=version("medgym"),
        sources=tuple(
            {"name": c.name, "kind": c.kind, "hash": c.hash, "documents": counts.get(c.name, 0)}
            for c in corpora
        ),
        documents=sum(part.documents for part in parts),
        cases=taken.cases,
        left_out=taken.left_out,
        spaces=spaces,
        parts=parts,
        libraries=dict(_versions()),
        files=hashes_of(root),
    )
    write_manifest(root, manifest)
    return manifest


def _why(taken: _Taken) -> str:
    said = "; ".join(f"{count} left out: {why}" for why, (count, _) in taken.left_out.items())
    return f" ({said})" if said else ""


def _allowed(
    corpora: Sequence[Corpus], taken: _Taken, counts: dict[str, int]
) -> Iterator[CorpusEntry]:
    """The documents that may be handed out at all; the others are counted."""
    for corpus in corpora:
        for entry in corpus.entries():
            taken.check(entry)
            if entry.split is not None and published(entry.split) != SPLIT:
                taken.leave_out(f"a case of the split {entry.split}", entry)
                continue
            counts[corpus.name] = counts.get(corpus.name, 0) + 1
            yield entry


def _opened(entries: Iterable[CorpusEntry]) -> Iterator[tuple[CorpusEntry, list[Opened] | str]]:
    """Each document with its images, which are opened ahead in a few threads, in order."""
    pending: deque[tuple[CorpusEntry, Future[list[Opened] | str]]] = deque()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="index") as threads:
        try:
            for entry in entries:
                pending.append((entry, threads.submit(_images_of, entry)))
                if len(pending) > 2 * THREADS:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


def _images_of(entry: CorpusEntry) -> list[Opened] | str:
    """The images of a document; or why one cannot be opened."""
    try:
        opened: list[Opened] = []
        for ref in entry.images:
            image = opened_image(ref)
            study = image.start
            width, height = study.size
            scale = min(1.0, SIDE / max(width, height))
            size = max(1, round(width * scale)), max(1, round(height * scale))
            picture = study.render((0.0, 0.0, float(width), float(height)), size)
            opened.append((ref, prints_of(image), picture))
        return opened
    except UserError as error:
        return str(error)
    except Exception as error:  # a stranger's source may fail as it likes
        return reason_of(error)


def _fitted(
    root: Path,
    specs: Sequence[str],
    embedders: Sequence[Embedder],
    writers: Iterable[PartWriter],
) -> tuple[Space, ...]:
    texts = [text for writer in writers for text in itertools.islice(writer.texts(), FIT)]
    spaces = []
    for spec, embedder in zip(specs, embedders, strict=True):
        if embedder.texts:
            embedder.fit(texts)
        folder = root / "spaces" / embedder.name
        folder.mkdir(parents=True)
        embedder.save(folder)
        fitted = any(folder.iterdir())
        spaces.append(
            Space(
                name=embedder.name,
                spec=_absolute(spec),
                version=embedder.version,
                state=state_of(spec),
                dims=embedder.dims,
                texts=embedder.texts,
                images=embedder.images,
                fitted=f"spaces/{embedder.name}" if fitted else None,
            )
        )
    return tuple(spaces)


def _absolute(spec: str) -> str:
    name, colon, folder = spec.partition(":")
    return f"{name}:{Path(folder).expanduser().absolute()}" if colon else name


def _versions() -> Iterator[tuple[str, str]]:
    for name in _LIBRARIES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue
