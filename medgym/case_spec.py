"""Case specs: `SOURCE[,key=value,...]:SPLIT[SLICE]`, or `FILE.jsonl[SLICE]`, taken apart.

A value or a split that holds one of `, : [ ]` stands in double quotes, in which each character
stands for itself: `table,path="my questions, v2 [final].csv":test`. A quotation mark in them is
written twice. Without quotes, `%2C` is a comma and `%25` a percent sign, as in any spec.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from medgym.errors import RunError, UserError
from medgym.failures import calling
from medgym.spec import read_pairs


@dataclass(frozen=True)
class CaseSpec:
    """`SOURCE[,key=value,...]:SPLIT[SLICE]`, taken apart."""

    source: str
    options: tuple[tuple[str, str], ...]
    split: str
    slice: slice


_SLICE = r"(?:\[(?P<start>-?\d{1,18})?:(?P<stop>-?\d{1,18})?(?::(?P<step>-?\d{1,18})?)?\])?"
_SOURCE = r"(?P<source>[^:,\[\]]+)(?P<options>(?:,[^:,=\[\]]+=[^:,\[\]]*)*)"
_SPEC = re.compile(_SOURCE + r":(?P<split>[^:,\[\]]+)" + _SLICE)
FILE = re.compile(r"(?P<path>.*\.jsonl)" + _SLICE)
"""A file of cases, and the slice that may follow."""

TABLES = (".csv", ".tsv", ".json", ".parquet")
"""Endings of files that the source `table` reads. It reads `.jsonl` too, if it is named."""

_QUOTED = re.compile(r'(?<=[=+:])"((?:[^"]|"")*)"')
_SPECIAL = re.compile(r'[%",:\[\]]')


def sliced(spec: str, match: re.Match[str]) -> slice:
    """The slice at the end of a spec; `UserError` for a step of 0."""
    bounds = [int(match[part]) if match[part] else None for part in ("start", "stop", "step")]
    if bounds[2] == 0:
        raise UserError(f"the slice of {spec!r} has a step of 0; fix: omit the step")
    return slice(*bounds)


def parse_spec(spec: str) -> CaseSpec:
    """Take a case spec apart; `UserError` where it has another form."""
    match = _SPEC.fullmatch(_encoded(spec))
    if match is None:
        raise unreadable(spec)
    return CaseSpec(
        source=match["source"],
        options=_options(spec, match["options"]),
        split=unquote(match["split"]),
        slice=sliced(spec, match),
    )


def write_spec(source: str, options: Iterable[tuple[str, str]], split: str = "") -> str:
    """The spec that `parse_spec` takes apart into these parts; without a split, one to follow."""
    pairs = "".join(f",{key}={quoted(value)}" for key, value in options)
    return f"{source}{pairs}" + (f":{quoted(split)}" if split else "")


def quoted(value: str) -> str:
    """A value as a spec may hold it: in quotes, where it has a character with a meaning there."""
    if not _SPECIAL.search(value):
        return value
    return '"' + value.replace('"', '""') + '"'


def file_named(spec: str) -> re.Match[str] | None:
    """The file of cases that a spec names, with its slice; None where it names something else."""
    match = FILE.fullmatch(spec)
    return None if match is None or _source_named(spec) else match


def _encoded(spec: str) -> str:
    """A spec in which what stands in quotes is percent-encoded instead."""

    def encoded(found: re.Match[str]) -> str:
        return _SPECIAL.sub(lambda c: f"%{ord(c[0]):02X}", found[1].replace('""', '"'))

    return _QUOTED.sub(encoded, spec)


def _options(spec: str, text: str) -> tuple[tuple[str, str], ...]:
    pairs = read_pairs(f"the cases {spec!r}", text.removeprefix(","), ",")
    if re.search('[=+]"', text):
        raise UserError(
            f"the cases {spec!r} have a quotation mark that is not closed; fix: close it, and "
            'write one that is meant as ""'
        )
    return tuple(pairs.items())


def _source_named(spec: str) -> str | None:
    """The registered source whose options a spec has: `table` of `table,path=...`."""
    from medgym.registry import names

    match = re.match(r"([^:,\[\]=]+),[^:,=\[\]]+=", spec)
    return match[1] if match is not None and match[1] in names("sources") else None


def unreadable(spec: str) -> UserError:
    """Why a spec cannot be read, with what can be read instead."""
    splits = splits_of(spec)
    if splits:
        forms = " or ".join(f"{spec}:{quoted(split)}" for split in splits)
        return UserError(f"the cases {spec!r} name no split; fix: write {forms}")
    if _source_named(spec) is not None:
        return UserError(
            f"cannot read the cases {spec!r}; write SOURCE,key=value:SPLIT, and a value that has a "
            'comma, a colon or a bracket in quotes: path="a, b.csv"'
        )
    bare = re.sub(_SLICE + "$", "", spec)
    if Path(bare).suffix.lower() in TABLES:
        if not os.path.exists(bare):
            return UserError(f"no such table: {bare}; fix: check the path")
        return UserError(f"{bare} is a table; fix: write {_table_spec(bare)}")
    if os.path.isdir(spec):
        return UserError(
            f"{spec} is a folder; fix: write {write_spec('folder', [('path', spec)], 'all')} where "
            "its folders are classes, or see docs/your-data.md"
        )
    if os.path.exists(spec):
        return UserError(
            f"cannot read cases from {spec}; what can be read are tables "
            f"({', '.join(TABLES)}), .jsonl files, as medgym.write_cases writes them, and "
            "registered sources; fix: convert it"
        )
    return UserError(
        f"cannot read the cases {spec!r}; write SOURCE:SPLIT, SOURCE:SPLIT[:100], "
        "SOURCE,key=value:SPLIT[100:300] or FILE.jsonl"
    )


def _table_spec(path: str) -> str:
    """The spec of a table, and, where it cannot be opened as it is, what shows why."""
    spec = write_spec("table", [("path", path)])
    try:
        splits = splits_of(spec)
    except (UserError, RunError):
        splits = ()
    if splits:
        return " or ".join(f"{spec}:{quoted(split)}" for split in splits)
    return f"{spec}:all; medgym cases new {path} shows what it holds"


def splits_of(spec: str) -> tuple[str, ...]:
    """The splits of a source that a spec names without any: `phantom`; else empty.

    Raises:
        UserError: the source has the splits of what it reads, and cannot read it.
    """
    from medgym.registry import load, names

    match = re.fullmatch(_SOURCE, _encoded(spec))
    if match is None or match["source"] not in names("sources"):
        return ()
    with calling(f"the source {match['source']!r}"):
        source = load("sources", match["source"])
        if not source.splits:
            source = source(**dict(_options(spec, match["options"])))
        splits: tuple[str, ...] = source.splits
    return splits
