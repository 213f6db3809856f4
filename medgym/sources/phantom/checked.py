"""The source `phantom` as it is registered: with the proof that phantoms hide what they promise."""

from collections.abc import Iterable, Mapping, Sequence

from medgym.case_checks.report import CheckRow
from medgym.cases import Case
from medgym.progress import progress
from medgym.sources.phantom.check import check_phantoms
from medgym.sources.phantom.source import PhantomSource


class CheckedPhantoms(PhantomSource):
    """Procedural cases whose overview shows where to look and hides what."""

    checked_cases = 800

    def check(self, splits: Mapping[str, Sequence[Case]], *, quick: bool) -> Iterable[CheckRow]:
        """Whether the overviews hide the kind and the gold is true: of test, else the first one."""
        cases = splits.get("test") or next(iter(splits.values()))
        with progress("phantoms", len(cases)) as advance:
            found = check_phantoms(cases, probe=not quick, progress=lambda done, total: advance(1))
        return found.rows
