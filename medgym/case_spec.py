"""Case specs: `SOURCE[,key=value,...]:SPLIT[SLICE]`, or `FILE.jsonl[SLICE]`, taken apart."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from medgym.errors import UserError
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

OTHER_FILES = (".csv", ".tsv", ".json", ".parquet")
"""Endings of files that users take for files of cases."""


def sliced(spec: str, match: re.Match[str]) -> slice:
    """The slice at the end of a spec; `UserError` for a step of 0."""
    bounds = [int(match[part]) if match[part] else None for part in ("start", "stop", "step")]
    if bounds[2] == 0:
        raise UserError(f"the slice of {spec!r} has a step of 0; fix: omit the step")
    return slice(*bounds)


def parse_spec(spec: str) -> CaseSpec:
    """Take a case spec apart; `UserError` where it has another form."""
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise unreadable(spec)
    pairs = read_pairs(f"the cases {spec!r}", match["options"].removeprefix(","), ",")
    return CaseSpec(
        source=match["source"],
        options=tuple(pairs.items()),
        split=match["split"],
        slice=sliced(spec, match),
    )


def unreadable(spec: str) -> UserError:
    """Why a spec cannot be read, with what can be read instead."""
    splits = splits_of(spec)
    if splits:
        forms = " or ".join(f"{spec}:{split}" for split in splits)
        return UserError(f"the cases {spec!r} name no split; fix: write {forms}")
    if Path(spec).suffix in OTHER_FILES or os.path.exists(spec):
        return UserError(
            f"cannot read cases from {spec}; what can be read are .jsonl files, as "
            "medgym.write_cases writes them, and registered sources; fix: convert it to .jsonl"
        )
    return UserError(
        f"cannot read the cases {spec!r}; write SOURCE:SPLIT, SOURCE:SPLIT[:100], "
        "SOURCE,key=value:SPLIT[100:300] or FILE.jsonl"
    )


def splits_of(spec: str) -> tuple[str, ...]:
    """The splits of a source that a spec names without any: `phantom`; else empty."""
    from medgym.registry import load, names

    match = re.fullmatch(_SOURCE, spec)
    if match is None or match["source"] not in names("sources"):
        return ()
    with calling(f"the source {match['source']!r}"):
        splits: tuple[str, ...] = load("sources", match["source"]).splits
    return splits
