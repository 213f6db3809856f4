"""A check of cases: of all splits of a source, of one split, or of a file."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medgym.case_checks.findings import Findings
from medgym.case_checks.images import ImageFindings, Leak
from medgym.case_checks.report import CheckReport, CheckRow
from medgym.case_order import seed_in
from medgym.case_paths import with_absolute_paths
from medgym.case_spec import file_named, parse_spec, quoted, sliced, splits_of
from medgym.cases import Case, CaseList
from medgym.checked_sequence import CheckedSequence
from medgym.errors import UserError
from medgym.failures import calling
from medgym.files import read_text
from medgym.leaks.kept import KeptFingerprints
from medgym.leaks.scan import scan
from medgym.progress import progress
from medgym.source import Source
from medgym.sources.clean import GROUPS, SUFFIX
from medgym.sources.published import PublishedSource
from medgym.storage.atomic import write_atomic

REPORT = "report.json"
PICTURE = "leaks.png"
PROGRESS = "fingerprints.sqlite"


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Attributes:
        report: every check, in words.
        leaks: the pairs of cases of two splits that show one image.
        unreadable: images that cannot be opened: case, URI, reason.
        unscorable: cases that cannot be scored: id, reason.
        groups: another name for groups that show one image.
    """

    report: CheckReport
    leaks: tuple[Leak, ...] = ()
    unreadable: tuple[tuple[str, str, str], ...] = ()
    unscorable: tuple[tuple[str, str], ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "checks": [asdict(row) for row in self.report.rows],
            "leaks": [leak.as_dict() for leak in self.leaks],
            "unreadable": [
                {"case": case, "image": uri, "reason": why} for case, uri, why in self.unreadable
            ],
            "unscorable": [{"case": case, "reason": why} for case, why in self.unscorable],
        }

    def write(self, folder: Path) -> None:
        """Write the report, the names of groups, and a picture of the pairs into a folder."""
        from io import BytesIO

        from medgym.leaks.sheet import pair_sheet

        text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False)
        write_atomic(folder / REPORT, text.encode("utf-8", "backslashreplace"))
        write_atomic(folder / GROUPS, json.dumps(self.groups, indent=2).encode())
        if self.leaks:
            pairs = [
                (f"{leak.likeness:.2f} {a.split}: {a.case} / {b.split}: {b.case}", a.image, b.image)
                for leak in self.leaks
                for a, b in [(leak.first, leak.second)]
            ]
            stream = BytesIO()
            pair_sheet(pairs).save(stream, "PNG")
            write_atomic(folder / PICTURE, stream.getvalue())


def check_cases(
    spec: str,
    *,
    most: int | None = None,
    quick: bool = False,
    near: bool = True,
    out: Path | None = None,
) -> Checked:
    """Check the cases that a spec names: all published splits of a source, one split, or a file.

    Args:
        spec: a source with its options, with or without a split, or a file of cases.
        most: how many cases of each split; by default all, or as many as the source says.
        quick: leave out what takes a source long.
        near: look for near duplicates too, not only for exact copies.
        out: the folder for the report. Fingerprints are kept in it, so that a check that was
            interrupted goes on; without it they are kept in the user's cache.

    Raises:
        UserError: the spec names nothing that can be read.
    """
    file = file_named(spec)
    if file is not None:
        cases, row = _read(Path(file["path"]))
        splits = _by_split(cases[sliced(spec, file)][:most])
        source, given = None, [row]
    else:
        source, splits = _opened(spec, most)
        given = []
    if not any(splits.values()):
        raise UserError(f"{spec!r} names no case; fix: widen the slice")
    declared = _declared(source, splits)
    found = Findings(splits)
    place = _kept_in(spec) if out is None else out / PROGRESS
    total = sum(len(cases) for cases in splits.values())
    with KeptFingerprints(place) as kept, progress("cases", total) as advance:

        def images() -> Iterator[Any]:
            for case in found.walk():
                yield from case.images
                advance(1)

        scanned = scan(images(), kept)
    by_image = ImageFindings(found, scanned, near)
    rows = [*given, *found.rows(declared), *by_image.rows(declared)]
    region_row = found.regions.row()
    rows += [region_row] if region_row is not None else []
    if source is not None:
        with calling(f"the source {source.name!r}"):
            rows += source.check(splits, quick=quick)
    checked = Checked(
        CheckReport(tuple(rows)),
        tuple(by_image.leaks),
        tuple(by_image.unreadable),
        tuple(found.unscorable),
        by_image.merged_groups(),
    )
    if out is not None:
        checked.write(out)
    return checked


def _opened(spec: str, most: int | None) -> tuple[Source, dict[str, CaseList]]:
    """The source of a spec, and its cases by split. What a count is, is a check of its own, so a
    copy with other counts is opened all the same."""
    from medgym.registry import load

    names = [name for name in splits_of(spec) if not name.endswith(SUFFIX)]
    part = parse_spec(f"{spec}:{quoted(names[0])}" if names else spec)
    options = dict(part.options)
    seed = seed_in(options)
    called = f"the source {part.source!r}"
    with calling(called):
        kind = load("sources", part.source)
        if isinstance(kind, type) and issubclass(kind, PublishedSource):
            options.setdefault("counts", "any")
        source: Source = kind(**options)
        for name in names or [part.split]:
            if name not in source.splits:
                raise source.split_error(name)
    limit = source.checked_cases if most is None else most
    opened = {}
    for name in names or [part.split]:
        made = CheckedSequence(called, partial(source.cases, name), Case)
        cases = CaseList(made)
        opened[name] = (cases if seed is None else cases.shuffled(seed))[part.slice][:limit]
    return source, opened


def _declared(source: Source | None, splits: Mapping[str, CaseList]) -> tuple[str, ...]:
    """What a source declares that its splits share."""
    if source is None:
        return ()
    return tuple(dict.fromkeys(said for split in splits for said in source.leaks(split)))


def _by_split(cases: Sequence[Case]) -> dict[str, CaseList]:
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.split, []).append(case)
    return {split: CaseList(tuple(each)) for split, each in found.items()}


def _read(path: Path) -> tuple[list[Case], CheckRow]:
    """The cases of a file, and a row on the lines that hold none."""
    cases: list[Case] = []
    wrong: list[str] = []
    for number, line in enumerate(read_text(path, "file of cases").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            cases.append(with_absolute_paths(Case.model_validate_json(line), path.parent))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the line"
            wrong.append(f"line {number}: {where}: {first['msg']}")
    if not cases:
        first_fault = f" ({wrong[0]})" if wrong else ""
        raise UserError(f"{path} holds no case{first_fault}; fix: see docs/your-data.md")
    figure = f"{len(wrong):,} lines hold no case" if wrong else f"all {len(cases):,} lines"
    row = CheckRow("each line is a case", "fail" if wrong else "pass", figure, "; ".join(wrong[:3]))
    return cases, row


def _kept_in(spec: str) -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.blake2b(spec.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()
    return base / "medgym" / "checks" / f"{name}.sqlite"
