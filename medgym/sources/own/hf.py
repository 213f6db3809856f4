"""The source `hf`: any data set of the Hugging Face Hub, or a local copy in its layout.

`hf,path=ORG/NAME:train` fetches into the Hub's own cache (`revision=` pins a commit); a folder that
is there is read instead. Parquet, JSON lines, JSON, CSV and TSV are read as the source `table`
reads them, with the same options. Images stay in the Parquet files, or beside the table.
"""

import fnmatch
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from medgym.cases import Case
from medgym.errors import RunError, UserError
from medgym.source import Source
from medgym.sources.own.cases import RowReader
from medgym.sources.own.images import ImageFolder, TableImages
from medgym.sources.own.reading import ENDINGS, Rows, TableFile
from medgym.sources.own.table import cases_in, check_known, described, read

OTHERS = ("path", "revision", "config", "images", "gold", "name")
"""The options beside those that name columns."""

_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SHARD = re.compile(r"(?P<split>[\w.]+(?:-[A-Za-z_]\w*)*)-\d{5}-of-\d{5}.*")
_WORDS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation",
    "val": "validation", "dev": "validation", "test": "test", "testing": "test", "eval": "test",
    "evaluation": "test",
}  # fmt: skip
"""What file names say of splits, as `datasets` reads them."""

_OF_HUB = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json")


class HfSource(Source):
    """Cases from a data set of the Hub.

    Args:
        options: `path`; where wanted `revision`, `config`, `images` (a folder or a zip in the data
            set), and the options of the source `table`.

    Raises:
        UserError: there is no such data set, or no table in it.
        RunError: the Hub cannot be reached.
    """

    name = "hf"
    splits: tuple[str, ...] = ()

    def __init__(self, **options: str) -> None:
        check_known(self.name, options, OTHERS)
        if "path" not in options:
            raise UserError("the source hf needs a data set; fix: write hf,path=ORG/NAME:SPLIT")
        if "split" in options:
            raise UserError(
                "the splits of a data set are its files; fix: omit split=, or read one of them "
                "with the source table"
            )
        self.path = options["path"]
        self._options = options
        given = Path(self.path).expanduser()
        self._fetched = not given.is_dir()
        if not self._fetched and "revision" in options:
            raise UserError(f"{self.path} is a folder, so it has no revision; fix: omit it")
        self.folder = self._fetch(tables_only=True) if self._fetched else given
        self._files = data_files(self.folder, self.path, options.get("config"))
        self.splits = tuple(self._files)

    def cases(self, split: str) -> Sequence[Case]:
        """The cases of a split, made when they are asked for."""
        files = self._files[split]
        rows = Rows([TableFile(path) for path in files])
        name = self._options.get("name", Path(self.path).name)
        columns, told = described(files[0], rows.names, self._options, name, without=("split",))
        columns = replace(read(rows, columns, told, "type" in self._options), split=())
        if self._fetched and not set(columns.image) <= set(rows.files[0].images):
            self._fetch(tables_only=False)  # its images are files
        images = self._options.get("images")
        inside = None if images is None else str(self.folder / images)
        finds = {path: ImageFolder(inside, path).refs for path in files}
        found = TableImages(rows, columns, finds[files[0]], finds)
        reader = RowReader(rows, columns, told, split, found)
        return cases_in(reader, rows, columns, split)

    def _fetch(self, *, tables_only: bool) -> Path:
        if not _ID.fullmatch(self.path):
            raise UserError(
                f"there is no folder {self.path}, and it is no id of the Hub; fix: check the path, "
                "or write ORG/NAME"
            )
        from huggingface_hub import snapshot_download

        revision = self._options.get("revision")
        patterns = ["README.md", *(f"*{ending}" for ending in ENDINGS)] if tables_only else None
        with _reaching(self.path, revision):
            found = snapshot_download(
                self.path,
                repo_type="dataset",
                revision=revision,
                allow_patterns=patterns,
                endpoint=os.environ.get("HF_ENDPOINT"),
            )
        return Path(found)


def data_files(folder: Path, name: str, config: str | None) -> Mapping[str, Sequence[Path]]:
    """The files of each split of a data set, in order.

    What its README says counts; else the names of files and folders do, as `datasets` reads them.

    Raises:
        UserError: there is no table, or one of several configurations has to be named.
    """
    configs = _said(folder) or _named(folder)
    if not configs:
        raise UserError(
            f"{name} has no table that can be read ({', '.join(ENDINGS)}); fix: name a data set "
            "with one, or folder,path=DIR for folders of classes"
        )
    if config is None and len(configs) > 1:
        config = "default" if "default" in configs else None
    if config is None and len(configs) > 1:
        raise UserError(
            f"{name} has the configurations {', '.join(sorted(configs))}; fix: write "
            f"config={min(configs)}"
        )
    if config is not None and config not in configs:
        raise UserError(
            f"{name} has no configuration {config!r}, but {', '.join(sorted(configs))}; fix: name "
            "one of them"
        )
    found = configs[config or next(iter(configs))]
    for split, files in found.items():
        if not files:
            raise UserError(
                f"the files of {name}:{split} are missing; fix: copy the data set again"
            )
    return found


def _tables(folder: Path) -> list[Path]:
    """The tables of the kind that a folder has most of: Parquet before all others."""
    inside = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.name not in _OF_HUB
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    for ending in (".parquet", ".jsonl", ".csv", ".tsv", ".json"):
        found = [path for path in inside if path.suffix.lower() == ending]
        if found:
            return found
    return []


def _said(folder: Path) -> dict[str, dict[str, list[Path]]]:
    """The files of each configuration and split, as the README says."""
    page = folder / "README.md"
    if not page.is_file() or not page.read_text("utf-8", "replace").startswith("---"):
        return {}
    from huggingface_hub import metadata_load

    said: Any = metadata_load(page) or {}
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    found: dict[str, dict[str, list[Path]]] = {}
    for config in said.get("configs") or ():
        files = config.get("data_files")
        if not files:
            continue
        parts = files if isinstance(files, list) else [files]
        splits: dict[str, list[Path]] = {}
        for part in parts:
            split, paths = (
                (str(part.get("split", "train")), part.get("path"))
                if isinstance(part, dict)
                else ("train", part)
            )
            for pattern in paths if isinstance(paths, list) else [paths]:
                splits.setdefault(split, []).extend(
                    folder / each for each in names if fnmatch.fnmatch(each, str(pattern))
                )
        found[str(config.get("config_name", "default"))] = splits
    return found


def _named(folder: Path) -> dict[str, dict[str, list[Path]]]:
    """The files of each configuration and split, by their names."""
    tables = _tables(folder)
    tops = {path.relative_to(folder).parts[0] for path in tables if path.parent != folder}
    are_configs = len(tops) > 1 and not any(top.casefold() in _WORDS for top in tops)
    found: dict[str, dict[str, list[Path]]] = {}
    for path in tables:
        parts = path.relative_to(folder).parts
        config = parts[0] if are_configs and len(parts) > 1 else "default"
        found.setdefault(config, {}).setdefault(_split_of(parts), []).append(path)
    return found


def _split_of(parts: Sequence[str]) -> str:
    name = Path(parts[-1]).stem
    shard = _SHARD.fullmatch(name)
    if shard is not None:
        return shard["split"]
    for part in (name, *reversed(parts[:-1])):
        words = re.split(r"[^a-z]+", part.casefold())
        known = next((_WORDS[word] for word in words if word in _WORDS), None)
        if known is not None:
            return known
    return "train"


@contextmanager
def _reaching(name: str, revision: str | None) -> Iterator[None]:
    """A context in which what the Hub or the network says becomes one line."""
    from huggingface_hub import errors

    page = f"https://huggingface.co/datasets/{name}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise UserError(
            f"the data set {name} is gated; fix: accept its terms at {page}, then log in (hf auth "
            "login)"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(
            f"the data set {name} has no revision {revision!r}; fix: name one of {page}/commits"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"there is no data set {name}, neither as a folder here nor on the Hub, or it is "
            "private; fix: check the name, or log in (hf auth login)"
        ) from error
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise RunError(
            f"cannot fetch the data set {name} ({said}); fix: check the network, or name a local "
            "copy: hf,path=FOLDER"
        ) from error
    except errors.HFValidationError as error:
        raise UserError(f"{name} is no id of the Hub; fix: write ORG/NAME") from error
