"""What `medgym rollout --branch` branches: which episodes of a run, and how they were played."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgym.cases import Case
from medgym.errors import UserError
from medgym.rollout.branching import turns_to_branch, was_late
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Trajectory

ASKED = ("cases", "tools", "rubric", "max_turns", "view_size")
"""What a run's recipe says of how its episodes were played."""


@dataclass(frozen=True)
class Origin:
    """The run whose episodes are branched, or the one episode of it.

    Attributes:
        run: where they are stored.
        episode: case id and member, where one is named.
    """

    run: RunFolder
    episode: tuple[str, int] | None = None

    @classmethod
    def of(cls, text: str) -> "Origin":
        """`RUN`, or `RUN#CASE/MEMBER`.

        Raises:
            UserError: no run is there, or no member is named.
        """
        parts = text.split("#")
        splits = [("#".join(parts[:n]), "#".join(parts[n:])) for n in range(len(parts), 0, -1)]
        path, named = next(  # a folder's name may have a # in it
            (each for each in splits if (Path(each[0]) / "manifest.json").is_file()), splits[-1]
        )
        run = RunFolder.open(path)
        if not named:
            return cls(run)
        case, _, member = named.rpartition("/")
        if not (case and member.isascii() and member.isdecimal()):
            raise UserError(
                f"--branch {text} names no episode; fix: write RUN#CASE/MEMBER, such as "
                f"{path}#phantom/train/ct-512-kind-0/0"
            )
        return cls(run, (case, int(member)))

    def asked(self) -> dict[str, Any]:
        """How its episodes were asked for: what the options stand for that are not given.

        Raises:
            UserError: it is no run of `medgym rollout` or `medgym.collect`.
        """
        recipe = self.run.asked
        if not all(name in recipe for name in ASKED):
            raise UserError(
                f"{self.run.path} was not made by medgym rollout; fix: branch a run that was, or "
                "call medgym.collect(..., resume_from=...)"
            )
        return {name: recipe[name] for name in ASKED} | {
            "view_multiple": recipe.get("view_multiple", 1)
        }

    def pairs(self, cases: Iterable[Case], turn: int) -> list[tuple[Trajectory, int]]:
        """What is branched, as `collect` takes it: of each case the first member that goes on after
        the turn, or the named episode.

        Raises:
            UserError: there is none.
        """
        wanted = {case.id for case in cases}
        found: dict[str, Trajectory] = {}
        for each in self.run.trajectories:
            if self.episode is not None:
                if (each.case_id, each.member) == self.episode:
                    return [(each, turn)]
                continue
            whole = each.failure is None and not each.branches and not was_late(each.faults)
            fits = whole and each.case_id in wanted
            before = found.get(each.case_id)
            first = before is None or each.member < before.member
            if fits and first and turns_to_branch(each) >= turn:
                found[each.case_id] = each
        if self.episode is not None:
            case, member = self.episode
            raise UserError(f"{self.run.path} holds no episode {case}#{member}; fix: name another")
        if not found:
            raise UserError(
                f"no episode in {self.run.path} goes on after turn {turn}, of these cases; fix: "
                "choose an earlier --turn, or other cases"
            )
        return [(found[case_id], turn) for case_id in sorted(found)]
