"""The outcomes of a stored run: those that it has written, or its episodes judged again."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from medgym.cases import Case, CaseList, case_hash, open_cases
from medgym.errors import UserError
from medgym.progress import Advance
from medgym.storage.layout import Place
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import TrajectoryStore
from medgym.trajectory import Trajectory

from ..looking.stored import arms_of, outcomes_in, require_arm
from ..viewer.tokens import Pieces
from .outcome import CaseOutcome, outcome_of
from .packed import PackedRows
from .table import read_outcomes


def outcomes_of(named: str) -> PackedRows[CaseOutcome]:
    """The outcomes of a run, packed: as it has stored them, else as `judged_again` makes them.

    Args:
        named: the folder of a run; of a training `FOLDER:POLICY`, where POLICY is one that it has
            judged (`dpo`, `cold_start`, `prior`). By default the one that was trained last. Of an
            evaluation in several arms, `FOLDER:ARM` where ARM is one of them (`on`, `off`).

    Raises:
        UserError: it is no run, has judged nothing, or its cases cannot be found.
    """
    folder, policy = run_and_policy(named)
    arms = arms_of(folder)
    if policy and arms:
        require_arm(policy, arms, folder)
        stored = read_outcomes(folder.path)
        return PackedRows(outcomes_in(stored or judged_again(folder), policy, arms))
    stored = None if policy else read_outcomes(folder.path)
    return stored or PackedRows(judged_again(folder, policy))


def run_and_policy(named: str) -> tuple[RunFolder, str]:
    """A run's folder, and the name of the policy that is meant of those that it judged."""
    path, colon, policy = named.rpartition(":")
    if colon and not Path(named).is_dir():
        return RunFolder.open(Path(path)), policy
    folder = RunFolder.open(Path(named))
    judged = sorted(each.name for each in (folder.path / "judged").glob("*") if each.is_dir())
    if not judged or _is_suite(folder) or isinstance(folder.asked.get("cases"), str):
        return folder, ""
    for trained in ("attending", "grpo", "dpo", "kto", "cold_start"):
        if trained in judged:
            return folder, trained
    return folder, judged[0]


def judged_again(
    folder: RunFolder, policy: str = "", advance: Advance | None = None
) -> Iterator[CaseOutcome]:
    """Judge each stored episode of a run by today's scorers; nothing is played.

    Raises:
        UserError: the run has no episodes, a case cannot be found, or has changed since.
    """
    pieces = Pieces(folder.path)
    for benchmark, case, trajectory in stored_episodes(folder, policy):
        yield outcome_of(case, trajectory, benchmark, pieces)
        if advance is not None:
            advance()


def stored_episodes(folder: RunFolder, policy: str = "") -> Iterator[tuple[str, Case, Trajectory]]:
    """The benchmark, the case and the trajectory of each stored episode of a run.

    Raises:
        UserError: as `judged_again`.
    """
    found = False
    for benchmark, (cases, store) in _stores(folder, policy).items():
        for trajectory in store:
            found = True
            case = cases.find(trajectory.case_id)
            if trajectory.case_hash not in ("", case_hash(case)):
                raise UserError(
                    f"the case {case.id} is another one now than when {folder.path} played it; "
                    "fix: name the cases as they were then"
                )
            yield benchmark, case, trajectory
    if not found:
        raise UserError(
            f"{folder.path} holds no episode that can be judged; fix: name a run of medgym eval, "
            "medgym rollout or medgym train that is done"
        )


def left_out(folder: RunFolder, judged: Collection[CaseOutcome]) -> list[CaseOutcome]:
    """What an evaluation has written of episodes that cannot be judged again, since they were not
    stored: their case could not be read, or they failed for good. They still count as that.

    Args:
        judged: the outcomes of those that were stored.
    """
    with suppress(UserError):  # a damaged table, which is written anew
        written = read_outcomes(folder.path) or ()
        found = {each.key: each for each in written if not each.is_counted}
        for each in judged:
            found.pop(each.key, None)
        return [*found.values()]
    return []


def _is_suite(folder: RunFolder) -> bool:
    return isinstance(folder.asked.get("suite"), str)


def _stores(folder: RunFolder, policy: str) -> Mapping[str, tuple[CaseList, TrajectoryStore]]:
    """For each benchmark its cases and its episodes."""
    asked = folder.asked
    cases = asked.get("cases")
    if _is_suite(folder) and isinstance(cases, Mapping):
        return {
            name: (open_cases(str(spec)), TrajectoryStore(folder.path / "judged" / name))
            for name, spec in cases.items()
        }
    if isinstance(cases, Mapping):  # of a training
        store = TrajectoryStore(Place(folder.path).judged(policy))
        return {"": (open_cases(str(cases.get("test"))), store)}
    if not isinstance(cases, str):
        raise UserError(f"{folder.path} does not say its cases; fix: name a run of medgym eval")
    return {"": (open_cases(cases), folder.trajectories)}
