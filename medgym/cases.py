"""Cases, opened from a spec, a file or a list: lazy, each checked when it is made."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from medgym.case import LETTERS as LETTERS
from medgym.case import AnswerType as AnswerType
from medgym.case import Case as Case
from medgym.case import CaseView as CaseView
from medgym.case import case_hash as case_hash
from medgym.case import normalised as normalised
from medgym.case import option_of as option_of
from medgym.case_file import CaseFile
from medgym.case_order import permuted, seed_in
from medgym.case_paths import with_absolute_paths
from medgym.case_spec import TABLES, file_named, parse_spec, sliced, unreadable
from medgym.checked_sequence import CheckedSequence
from medgym.errors import UserError
from medgym.failures import calling
from medgym.regions import Mask as Mask
from medgym.regions import Region as Region
from medgym.scorable import equal_options, equal_options_note, unscorable
from medgym.spec import made_with

Places = NDArray[np.int64]


class CaseIds:
    """The ids of the cases that were opened, by which each case is held to be the only one of its
    id, and to be one that can be scored (see `medgym.scorable`).

    Args:
        name: what the cases are called in errors: a file, a spec.
        unit: what a place in them is called.
        unique: whether no two of them can have one id, so that none is remembered.
        scored: whether answers to them are scored.

    Attributes:
        equal: of each place with a case that offers an option twice, its id and that option.
    """

    def __init__(
        self, name: str, unit: str = "number", *, unique: bool = False, scored: bool = True
    ) -> None:
        self._name = name
        self._unit = unit
        self._unique = unique
        self._scored = scored
        self._places: dict[str, int] = {}
        self.equal: dict[int, tuple[str, str]] = {}

    def check(self, case: Case, place: int) -> None:
        """Take the case at a place.

        Raises:
            UserError: another place holds a case of the same id, or the case cannot be scored.
        """
        first = place if self._unique else self._places.setdefault(case.id, place)
        if first != place:
            raise UserError(
                f"two cases have the id {case.id!r}: {self._unit} {first} and {self._unit} {place} "
                f"of {self._name}; fix: give each case an id of its own"
            )
        reason = unscorable(case) if self._scored else None
        if reason is not None:
            raise UserError(
                f"no answer to the case {case.id!r} ({self._unit} {place} of {self._name}) can be "
                f"right: {reason}; fix: correct the case, or leave it out"
            )
        if case.options and (same := equal_options(case)):
            self.equal[place] = case.id, same[0]


class CaseKey(NamedTuple):
    """What says which case it is and to whom it belongs: its id, its source and its group there."""

    id: str
    source: str
    group: str

    @property
    def group_key(self) -> tuple[str, str]:
        """The group among those of all sources."""
        return self.source, self.group


class CaseList(Sequence[Case]):
    """A lazy, sliceable view of a sequence of cases: an index makes one case and keeps none.

    Each case is checked when it is made (see `CaseIds`); ids are unique over all slices of a list.
    A sequence that cannot hold one id twice says `unique_ids`; one that has dropped what has no
    gold says `all_gold`.

    Attributes:
        view_size: the greatest view size that the cases' source allows; None where any will do.
        all_gold: whether the source says that each case has gold.
        notes: what every result that uses these cases has to say of them, see `Source.notes`; also
            that cases which were made by now offer an option twice.
        leaks: those of them that declare what the cases share with others, see `Source.leaks`.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        indices: Sequence[int] | None = None,
        view_size: int | None = None,
        all_gold: bool = False,
    ) -> None:
        self._cases = cases
        self._ids = self._ids_of(f"a {type(cases).__name__} of cases")
        self._indices: Sequence[int] = range(len(cases)) if indices is None else indices
        self._by_hash: tuple[Places, Places] | None = None
        self._ordered: Places | None = None
        self.view_size = view_size
        self.all_gold = all_gold or bool(getattr(cases, "all_gold", False))
        self._notes: tuple[str, ...] = ()
        self.leaks: tuple[str, ...] = ()

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_by_hash": None}  # another process hashes texts in another way

    @property
    def notes(self) -> tuple[str, ...]:
        return self._notes + equal_options_note(self._ids.equal)

    @property
    def unchecked(self) -> Iterator[Case]:
        """The cases as their source makes them, also those of one id and those that cannot be
        scored: for what reports these."""
        return map(self._cases.__getitem__, self._indices)

    @property
    def dropped(self) -> Sequence[tuple[str, str]]:
        """The rows of the whole split that make no case: where each is, and why."""
        found: Sequence[tuple[str, str]] = getattr(self._cases, "dropped", ())
        return found

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> "CaseList": ...
    def __getitem__(self, index: int | slice) -> "Case | CaseList":
        if isinstance(index, slice):
            return self._of(self._indices[index])
        return self._made(self._indices[index])

    def __iter__(self) -> Iterator[Case]:
        return map(self._made, self._indices)

    def shuffled(self, seed: int) -> "CaseList":
        """The same cases in another order, which the seed fixes; no case is made.

        `shuffled(0)[i::n]` is the part of worker i of n.
        """
        return self._of(permuted(self._indices, seed))

    def where(self, keep: Callable[[Case], bool]) -> "CaseList":
        """Those of the cases that are to be kept; each is made once to find out."""
        return self._of([place for place in self._indices if keep(self._made(place))])

    def _of(self, indices: Sequence[int]) -> "CaseList":
        part = CaseList(self._cases, indices, self.view_size, self.all_gold)
        part._ids, part._notes, part.leaks = self._ids, self._notes, self.leaks
        return part

    def _ids_of(self, name: str) -> CaseIds:
        return CaseIds(name, unique=bool(getattr(self._cases, "unique_ids", False)))

    def _made(self, place: int) -> Case:
        case = self._cases[place]
        self._ids.check(case, place)
        return case

    def case_keys(self) -> Iterator[CaseKey]:
        """The key of each case.

        A sequence that knows keys without making cases offers `key_of(index) -> CaseKey`.
        """
        key_of = getattr(self._cases, "key_of", None)
        if key_of is None:
            return (CaseKey(case.id, case.source, case.group) for case in self)
        return (key_of(index) for index in self._indices)

    def find(self, case_id: str) -> Case:
        """The case of that id; `UserError` where it is not among these.

        A sequence that computes the place of an id offers `index_of(id) -> int`, -1 for none;
        others are read through once.
        """
        index_of = getattr(self._cases, "index_of", None)
        if index_of is not None:
            place: int = index_of(case_id)
            if self._holds(place):
                return self._made(place)
        else:
            for place in self._places_of(case_id):
                case = self._made(place)
                if case.id == case_id:
                    return case
        raise UserError(f"no case {case_id!r} among these; fix: check the id and the slice")

    def _holds(self, place: int) -> bool:
        """Whether a place is one of these cases."""
        if isinstance(self._indices, range):
            return place in self._indices
        if self._ordered is None:
            self._ordered = np.sort(np.asarray(self._indices, np.int64))
        at = int(np.searchsorted(self._ordered, place))
        return at < len(self._ordered) and int(self._ordered[at]) == place

    def _places_of(self, case_id: str) -> list[int]:
        """The places of the cases whose ids have the hash of this one; 16 bytes a case are kept."""
        if self._by_hash is None:
            ids = (hash(key.id) for key in self.case_keys())
            hashes = np.fromiter(ids, np.int64, count=len(self))
            order = np.argsort(hashes, kind="stable")
            self._by_hash = hashes[order], np.asarray(self._indices, np.int64)[order]
        hashes, places = self._by_hash
        first = np.searchsorted(hashes, hash(case_id), side="left")
        last = np.searchsorted(hashes, hash(case_id), side="right")
        found: list[int] = places[first:last].tolist()
        return found


def open_cases(cases: "str | Path | Sequence[Case]") -> CaseList:
    """The cases that a spec names, lazily: `phantom:train`, `phantom,look=ct:test[:200]`.

    The option `shuffle=SEED`, which every source has, shuffles a split before a slice is taken.

    A spec that ends in `.jsonl` is a file of cases as `write_cases` writes it; a slice may follow.
    A sequence of cases is taken as it is.

    Raises:
        UserError: an unknown source, split or option, a malformed spec, or one that names no case.
    """
    if not isinstance(cases, str | Path):
        return _listed(cases)
    found = _opened(str(cases))
    if not found:
        for row, why in found.dropped[:1]:
            raise UserError(
                f"{str(cases)!r} names no case; rows that make none: {len(found.dropped):,}, such "
                f"as {row} ({why}); fix: correct or fetch them, or widen the slice"
            )
        raise UserError(f"{str(cases)!r} names no case; fix: widen the slice")
    return found


def _listed(cases: Sequence[Case]) -> CaseList:
    """A sequence of cases as a `CaseList`."""
    if isinstance(cases, CaseList):
        return cases
    refused = UserError(
        f"cannot read cases from a {type(cases).__name__}; fix: give a spec as "
        "'phantom:train[:10]', or a list of medgym.Case"
    )
    if not isinstance(cases, Sequence):
        raise refused
    found = CaseList(cases)
    if isinstance(cases, list | tuple):  # others make a case when it is asked for
        if not all(isinstance(case, Case) for case in cases):
            raise refused
        _check_all(found)
    return found


def unscored(cases: Sequence[Case]) -> CaseList:
    """Cases that are played although no answer to them is scored, such as an image of one's own."""
    found = CaseList(cases)
    found._ids = CaseIds("these cases", scored=False)
    return found


def _check_all(cases: CaseList) -> None:
    """Check cases that are made already, before the first one is used."""
    for _ in cases:
        pass


def _opened(spec: str) -> CaseList:
    file = file_named(spec)
    if file is not None:
        return _in_file(Path(file["path"]))[sliced(spec, file)]
    parts = parse_spec(spec)
    from medgym.registry import load

    if Path(parts.source).suffix.lower() in TABLES:
        raise unreadable(parts.source)
    if parts.source.endswith(".jsonl"):
        raise UserError(f"{parts.source} has no splits; fix: omit the {parts.split!r} after the :")

    name = f"the source {parts.source!r}"
    options = dict(parts.options)
    seed = seed_in(options)
    with calling(name):
        source = made_with(parts.source, load("sources", parts.source), options)
        if parts.split not in source.splits:
            raise source.split_error(parts.split)
        view_size = max(source.view_sizes) if source.view_sizes else None
        notes, leaks = source.notes(parts.split), source.leaks(parts.split)
    made = CheckedSequence(name, lambda: source.cases(parts.split), Case)
    found = CaseList(made, None, view_size, source.all_gold)
    found._notes, found.leaks = notes, leaks
    found._ids = found._ids_of(spec.partition("[")[0])
    if made.is_made:
        _check_all(found)
    if seed is not None:
        found = found.shuffled(seed)
    return found[parts.slice]


def write_cases(cases: Iterable[Case], path: str | Path) -> None:
    """Write cases as JSON lines, one case a line, gold included.

    Args:
        cases: what to write, such as `open_cases("phantom:test[:5]")`.
        path: the file, whose name ends in `.jsonl`. Folders above it are made as needed.

    Raises:
        UserError: the arguments are of another kind, or the file cannot be written.
    """
    if isinstance(cases, str | Path) or not isinstance(path, str | Path):
        raise UserError("write_cases takes the cases, then the path; fix: write_cases(cases, path)")
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as stream:
            for case in cases:
                whole = with_absolute_paths(case)
                stream.write(whole.model_dump_json(exclude_defaults=True) + "\n")
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror}); fix: choose another") from error


def read_cases(path: str | Path) -> list[Case]:
    """Read JSON lines written by `write_cases`; an error names the file, the line and the field.

    Raises:
        UserError: the file cannot be read, two of its cases have one id, or one cannot be scored.
    """
    return [*_in_file(Path(path))]


def _in_file(path: Path) -> CaseList:
    """The cases of a file, all checked once."""
    cases, ids = CaseFile(path), CaseIds(str(path), "line")
    for place, case in enumerate(cases):
        ids.check(case, cases.line(place))
    found = CaseList(cases)
    found._ids = CaseIds(str(path), unique=True)
    if ids.equal:
        lines = {cases.line(place): place for place in range(len(cases))}
        found._ids.equal = {lines[line]: same for line, same in ids.equal.items()}
    return found
