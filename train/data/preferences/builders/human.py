"""Preferences that people wrote down."""

import asyncio
import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from medgym.errors import UserError
from medgym.failures import Failure
from medgym.files import read_text
from medgym.messages import Malformed, Message, parse_action
from medgym.rollout import roll_out
from medgym.storage.pair_rows import SIDES
from medgym.trajectory import Trajectory

from ...demonstrations import Spoken
from ..builder import Group, PairBuilder, PairSource
from ..pair import Pair

_FIELDS = ("case", *(f"{side}{what}" for side in SIDES for what in ("", "_member")), "why")


@dataclass(frozen=True)
class _Preference:
    """One line of the file: each side is a member of the case's group, or what is said."""

    line: int
    chosen: int | tuple[str, ...]
    rejected: int | tuple[str, ...]
    why: str


class HumanPairs(PairBuilder):
    """Pairs of a file: JSON lines, or a CSV with a head.

    A line has the id of the `case`, `chosen` or `chosen_member`, `rejected` or `rejected_member`,
    and, if wanted, `why`. A member is the number of an episode in the run. A text is what the
    policy should, or should not, have replied; in JSON lines it may be a list of replies, tool
    calls among them. A text without tags is an answer. Texts are put into the tokens of the model
    that learns.

    Args:
        file: the path of the file.
    """

    name: ClassVar[str] = "human"

    def __init__(self, *, file: str) -> None:
        self._file = Path(file)
        self._preferences: dict[str, list[_Preference]] = {}

    def begin(self, source: PairSource) -> None:
        """Read the file.

        Raises:
            UserError: it cannot be read, a line says no preference or names a case of which the run
                has no episode, or texts are to be put into tokens of no known model.
        """
        known = {case.id for case in source.cases}
        found: defaultdict[str, list[_Preference]] = defaultdict(list)
        for number, row in _rows(self._file):
            where = f"{self._file}, line {number}"
            case_id = row.get("case")
            if not isinstance(case_id, str) or case_id not in known:
                raise UserError(
                    f"{where}: the run has no episode of the case {case_id!r}; fix: roll it out, "
                    "or remove the line"
                )
            unknown = sorted(row.keys() - set(_FIELDS))
            if unknown:
                raise UserError(
                    f"{where}: unknown field {unknown[0]!r}; known: {', '.join(_FIELDS)}"
                )
            sides = {side: _side(row, side, where) for side in SIDES}
            if source.student is None and any(isinstance(each, tuple) for each in sides.values()):
                raise UserError(
                    f"{where}: a text has to be put into the tokens of the model that learns; fix: "
                    "name it, such as --model hf:PATH, or name members"
                )
            why = str(row.get("why") or "preferred by a person")
            found[case_id].append(_Preference(number, sides["chosen"], sides["rejected"], why))
        self._preferences = dict(found)

    def pairs(self, group: Group, source: PairSource) -> Iterator[Pair]:
        """The pairs of one case, in the order of the file."""
        for each in self._preferences.get(group.case.id, ()):
            where = f"{self._file}, line {each.line}"
            chosen = _episode(each.chosen, group, source, where)
            rejected = _episode(each.rejected, group, source, where)
            yield Pair(chosen, rejected, self.name, each.why)


def _episode(
    side: int | tuple[str, ...], group: Group, source: PairSource, where: str
) -> Trajectory:
    if isinstance(side, tuple):
        return _said(side, group, source, where)
    found = next((each for each in group.episodes if each.member == side), None)
    if found is None:
        raise UserError(
            f"{where}: {group.case.id} has no member {side}; fix: name one of "
            f"{', '.join(str(each.member) for each in group.episodes)}"
        )
    return found


def _said(texts: tuple[str, ...], group: Group, source: PairSource, where: str) -> Trajectory:
    """An episode in which the policy says these texts, in the tokens of the model that learns."""
    assert source.student is not None, "checked when the file was read"
    if source.rules is None:
        raise UserError(f"{where}: texts need the rules of the run; fix: name members")

    def keep(messages: Sequence[Message]) -> None:
        for message in messages:
            for part in message.images:
                source.keep(part.image)

    model = source.student()
    try:
        played = asyncio.run(
            roll_out(
                group.case,
                model.imitating(Spoken("human", texts)),
                source.rules(),
                on_messages=keep,
            )
        )
    except Failure as failure:
        raise UserError(
            f"{where}: the replies do not make an episode ({failure.reason}); fix: end with an "
            "answer"
        ) from failure
    return replace(played, member=-1)


def _side(row: Mapping[str, Any], side: str, where: str) -> int | tuple[str, ...]:
    text, member = row.get(side), row.get(f"{side}_member")
    given = [each for each in (text, member) if each not in (None, "", [])]
    if len(given) != 1:
        raise UserError(f"{where}: give either {side} or {side}_member; fix: write one of them")
    if text in (None, "", []):
        try:
            return int(str(member))
        except ValueError:
            raise UserError(
                f"{where}: {side}_member is {member!r}; fix: write the number of a member"
            ) from None
    texts = text if isinstance(text, list) else [text]
    if not all(isinstance(each, str) and each.strip() for each in texts):
        raise UserError(f"{where}: {side} is no text; fix: write a reply, or a list of replies")
    return tuple(_reply(each) for each in texts)


def _reply(text: str) -> str:
    """A text as the policy would have to write it; without any tags it is an answer."""
    bare = isinstance(parse_action(text), Malformed) and "<" not in text
    return f"<answer>{text.strip()}</answer>" if bare else text


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of the file, with their numbers."""
    try:
        text = read_text(path, "file of preferences")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read the preferences in {path} ({error}); fix: check it"
        ) from error
    if path.suffix == ".csv":
        reader = csv.DictReader(io.StringIO(text, newline=""))  # a text may have several lines
        for row in reader:
            yield reader.line_num, {str(name): value for name, value in row.items()}
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise UserError(f"{path}, line {number}, is no JSON object; fix: write one preference")
        yield number, found
