"""What a data set's files are where they are published: addresses, sizes and checksums."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from medgym.errors import RunError, UserError
from medgym.sources.card import Card, PublishedFile
from medgym.sources.hub.record import LICENCE, RECORD

PATIENCE = 30
"""Seconds that a server has to answer a question."""

AS_IT_IS = {"Accept-Encoding": "identity"}
"""Asks for a file's own bytes: of compressed ones no part could be resumed."""

NAMED = 12
"""Optional files that an error names."""

KEPT = ("README.md", "LICENSE", "LICENSE.*", "LICENCE*")
"""What is fetched of every repository that has it: its own words on licence and contents."""


@dataclass(frozen=True)
class RemoteFile:
    """A file where it is published.

    Attributes:
        path: where it goes in the copy.
        url: its address.
        size: in bytes; None where the server does not say it.
        kind: of the checksum: `sha256`, `md5`, or `git` for the id that git gives it; None where no
            checksum is known.
        checksum: what it must be.
        tag: what the server calls this content, where no checksum is known.
        headers: what a request for it carries.
    """

    path: str
    url: str
    size: int | None
    kind: str | None = None
    checksum: str | None = None
    tag: str = ""
    headers: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Listing:
    """What is to be fetched of a data set, and the commit that it is of."""

    commit: str | None
    files: tuple[RemoteFile, ...]


def listed(
    card: Card, revision: str, chosen: tuple[str, ...] = (), *, only: bool = False
) -> Listing:
    """The files of a data set: the required ones, and those chosen by name or by pattern.

    Args:
        card: of the data set.
        revision: of its repository.
        chosen: files of the card, patterns of some, or single files of a pattern of the card.
        only: whether the required ones are left out that are not chosen.

    Raises:
        UserError: the revision or a file does not exist, a token is missing, nothing matches.
        RunError: a server cannot be reached, or fails.
    """
    wanted = [] if only else [file for file in card.files if not file.optional]
    fetched = [file for file in card.files if file.url is not None or card.repo is not None]
    others = [file for file in fetched if file not in wanted]
    some = ", ".join(file.path for file in others[:NAMED])
    some += ", ..." if len(others) > NAMED else ""
    for name in chosen:
        found = [file for file in others if _names(name, file.path)]
        if not found and not any(_names(name, file.path) for file in wanted):
            raise UserError(
                f"{card.name} has no optional file {name!r}; fix: name one of: {some or 'none'}"
            )
        # One file may be chosen of the many that the card names by a pattern.
        wanted += [f if fnmatchcase(f.path, name) else replace(f, path=name) for f in found]
    if not wanted:
        why = "--only names no file" if only else f"all files of {card.name} are optional"
        raise UserError(
            f"{why}; fix: name those that you want: medgym cases get {card.name} FILE ... (of "
            f"{some})"
        )
    commit: str | None = None
    files: list[RemoteFile] = []
    inside = [file for file in wanted if file.url is None]
    if inside and card.repo is not None:
        commit, files = _of_repo(card, card.repo, revision, inside)
    elif inside:
        raise UserError(
            f"{card.name} cannot be fetched: it is not on the Hub; fix: get it from {card.home}, "
            f"and name its folder: {card.name},data=DIR ({card.layout})"
        )
    files += [_elsewhere(card, file) for file in wanted if file.url is not None]
    return Listing(commit, tuple(files))


def _names(pattern: str, path: str) -> bool:
    """Whether what a user writes is a file of the card, a pattern of some, or one of a pattern."""
    return pattern == path or fnmatchcase(path, pattern) or fnmatchcase(pattern, path)


def _of_repo(
    card: Card, repo: str, revision: str, wanted: list[PublishedFile]
) -> tuple[str, list[RemoteFile]]:
    from huggingface_hub import HfApi, get_token, hf_hub_url
    from huggingface_hub.hf_api import RepoFile

    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    api = HfApi(endpoint=endpoint, library_name="medgym")
    where = endpoint or "https://huggingface.co"
    with reaching(card, revision, where):
        try:
            about = api.dataset_info(repo, revision=revision, timeout=PATIENCE)
            commit = about.sha or revision
            tree = api.list_repo_tree(repo, recursive=True, revision=commit, repo_type="dataset")
            there = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{where} does not answer as the Hub does; fix: check HF_ENDPOINT and your proxy"
            ) from error
    token = get_token()
    if about.gated and token is None:
        raise _gated(card)
    headers = AS_IT_IS | ({} if token is None else {"Authorization": f"Bearer {token}"})
    chosen: dict[str, PublishedFile | None] = {}
    for file in wanted:
        found = [path for path in there if path == file.path or _matches(path, file.path)]
        if not found and not (file.optional and len(wanted) > 1):  # some copies lack some of these
            raise UserError(
                f"{repo} has no {file.path} at revision {revision} (commit {commit[:12]}); fix: "
                f"update medgym, or look at {_page(card)} for what moved"
            )
        for path in found:
            chosen.setdefault(path, file)  # the first that names a file says more of it
    own = {LICENCE, RECORD}  # are written here, and would be overwritten
    kept = [p for p in {*there} - own if "/" not in p and any(fnmatchcase(p, e) for e in KEPT)]
    chosen = dict.fromkeys(kept) | chosen
    files = []
    for path, published in sorted(chosen.items()):
        entry = there[path]
        kind, checksum = (
            ("git", entry.blob_id) if entry.lfs is None else ("sha256", entry.lfs.sha256)
        )
        if published is not None:
            _hold_to_card(card, published, entry.size, checksum if kind == "sha256" else None)
            kind, checksum = _of_card(published) or (kind, checksum)
        url = hf_hub_url(repo, path, repo_type="dataset", revision=commit, endpoint=endpoint)
        files.append(RemoteFile(_safe(path), url, entry.size, kind, checksum, "", headers))
    return commit, files


def _matches(path: str, pattern: str) -> bool:
    """As a folder's `glob` has it: a `*` stays inside one part of a path, `**` does not."""
    if "*" not in pattern:
        return False
    parts = re.split(r"(\*\*/|\*)", pattern)
    rules = {"**/": "(?:.*/)?", "*": "[^/]*"}
    return re.fullmatch("".join(rules.get(p) or re.escape(p) for p in parts), path) is not None


def _hold_to_card(card: Card, file: PublishedFile, size: int | None, sha256: str | None) -> None:
    """Refuse a published file that is another one than the card knows."""
    differs = []
    if None not in (file.size, size) and file.size != size:
        differs.append(f"{size:,} bytes (expected {file.size:,})")
    if None not in (file.sha256, sha256) and file.sha256 != sha256:
        differs.append(f"sha256 {sha256} (expected {file.sha256})")
    if differs:
        raise UserError(
            f"{file.path} of {card.name} is published with {'; '.join(differs)}, so it is another "
            "file than the one that was counted; fix: update medgym, or tell its authors"
        )


def _of_card(file: PublishedFile) -> tuple[str, str] | None:
    """The checksum that the card knows, the strongest one."""
    known = (("sha256", file.sha256), ("md5", file.md5))
    return next(((kind, value) for kind, value in known if value is not None), None)


def _safe(path: str) -> str:
    """A path that stays inside the copy, and is none of medgym's own files."""
    parts = PurePosixPath(path).parts
    if path in (LICENCE, RECORD):
        raise UserError(
            f"the repository names a file {path!r}, which medgym itself writes into a copy; fix: "
            "tell the authors of the data set"
        )
    if not parts or path.startswith("/") or ".." in parts or "\0" in path or "\\" in path:
        raise UserError(
            f"the repository names a file {path!r}, which would lie outside of the copy; fix: tell "
            "the authors of the data set"
        )
    return path


def _elsewhere(card: Card, file: PublishedFile) -> RemoteFile:
    """A file outside the Hub: its size and what its server calls its content."""
    from huggingface_hub import get_session

    url = file.url or ""
    headers = AS_IT_IS | {"Range": "bytes=0-0"}
    with (
        reaching(card, "", url),
        get_session().stream("GET", url, headers=headers, timeout=PATIENCE) as answer,
    ):
        answer.raise_for_status()
        whole = re.fullmatch(r"bytes \d+-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        length = whole[1] if whole else answer.headers.get("Content-Length")
        tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    size = int(length) if length else None
    _hold_to_card(card, file, size, None)
    kind, checksum = _of_card(file) or (None, None)
    return RemoteFile(_safe(file.path), url, size, kind, checksum, tag, AS_IT_IS)


def _page(card: Card) -> str:
    """Where its files are shown."""
    return card.home if card.repo is None else f"https://huggingface.co/datasets/{card.repo}"


def _gated(card: Card) -> UserError:
    return UserError(
        f"{card.name} is gated: its authors ask for your consent; fix: accept the terms at "
        f"{_page(card)}, then log in (hf auth login, or the variable HF_TOKEN)"
    )


@contextmanager
def reaching(card: Card, revision: str, where: str) -> Iterator[None]:
    """A context in which what a server or the network says becomes one line.

    Raises:
        UserError: the user can help it: a token, a revision, the variable HF_HUB_OFFLINE.
        RunError: the server or the network failed.
    """
    import httpx2
    from huggingface_hub import errors

    again = "run the same command again, which resumes"
    try:
        yield
    except errors.GatedRepoError as error:
        raise _gated(card) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(
            f"{card.repo} has no revision {revision!r}; fix: update medgym, or name one that it "
            f"has: --revision main"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{where} has no data set {card.repo}, or it is private; fix: look at {_page(card)}; "
            "for a private one, log in (hf auth login)"
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise UserError(
            f"{card.name} cannot be fetched while HF_HUB_OFFLINE is set; fix: unset it"
        ) from error
    except (errors.HfHubHTTPError, httpx2.HTTPStatusError) as error:
        status = _status(error)
        raise RunError(f"{where} answered with HTTP {status}; fix: {again}") from error
    except httpx2.TimeoutException as error:
        raise RunError(f"{where} does not answer; fix: {again}") from error
    except httpx2.TransportError as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RunError(
            f"cannot reach {where} ({reason}); fix: check the network (HF_ENDPOINT names a mirror "
            f"of the Hub), then {again}"
        ) from error


def _status(error: Any) -> str:
    answer = getattr(error, "response", None)
    return str(answer.status_code) if answer is not None else "an error"
