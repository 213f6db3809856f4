"""The pairs of a run, as `[pairs]` asks for them: from a folder, a stored run, or its own episodes.

What is built lies in the run's folder, in `pairs/round-N/`.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from medgym.cases import Case
from medgym.local_model import LocalModel
from medgym.progress import progress
from medgym.storage.adapters import Version
from medgym.storage.atomic import remove
from medgym.storage.pair_rows import PAIRS
from medgym.storage.run_folder import RunFolder

from ..data.order import GoldCases
from ..data.preferences.build import build_pairs, refuse_held_out
from ..data.preferences.folder import PairFolder
from ..data.preferences.specs import load_builder, read_makes
from ..data.preferences.stored import StoredGroups
from ..run.fingerprint import FILE, PlugIn
from ..run.judging import model_policy
from ..run.opened import Run
from ..run.policies import check_policy
from ..run.processes import everyone, is_first
from .rolled_out import cases_of, check_player, plays, roll_out


def check_pairs(run: Run) -> None:
    """Look for the folder or run that `[pairs]` names, and for its builders.

    Raises:
        UserError: one is not there, or a builder's options are wrong.
    """
    table = run.recipe.pairs
    if table.folder is not None:
        refuse_held_out(PairFolder.open(table.folder), held_out_of(run))
        return
    for spec in read_makes(table.make):
        load_builder(spec)
    for judge in table.judges:
        check_policy(judge)
    if table.run is not None:
        StoredGroups(Path(table.run))
    check_player(run)


def of_pairs(run: Run) -> Iterator[PlugIn]:
    """What pairs are made by; of pairs that were built before, the file that lists them."""
    table = run.recipe.pairs
    if table.folder is not None:
        yield PlugIn(FILE, str(Path(table.folder) / PAIRS))
        return
    for spec in read_makes(table.make):
        yield PlugIn("pair_builders", spec.partition(",")[0])


def held_out_of(run: Run) -> list[GoldCases]:
    """The cases that a run's policies are judged by."""
    return [run.test] if run.held_out is None else [run.test, run.held_out]


def pairs_of(run: Run) -> PairFolder:
    """The pairs of a run that has one round of them."""
    table = run.recipe.pairs
    if table.folder is not None:
        return PairFolder.open(table.folder)
    cases = cases_of(run)
    source = Path(table.run) if table.run is not None else roll_out(run, cases).path
    return build(run, source, cases)


def pairs_of_round(
    run: Run, cases: Sequence[Case], number: int, adapter: Version | None
) -> PairFolder:
    """The pairs of one of several rounds: the policy as it is then plays their cases."""
    return build(run, roll_out(run, cases, number, adapter).path, cases, number)


def build(run: Run, source: Path, cases: Sequence[Case], number: int = 1) -> PairFolder:
    """Make pairs of stored groups, once; of several processes the first one does.

    Args:
        source: the folder of the groups. cases: those that may be learned from.
        number: of the round.

    Raises:
        UserError: as `build_pairs`.
    """
    out = run.folder / "pairs" / f"round-{number}"
    if is_first() and not (out / PAIRS).is_file():
        remove(out)  # of a run that was killed
        table = run.recipe.pairs
        made: list[LocalModel] = []
        try:
            with progress("pairs", len(StoredGroups(source))) as advance:
                build_pairs(
                    source,
                    read_makes(table.make),
                    run.paired if table.run is not None else list(cases),
                    out,
                    seed=run.seed("pairs"),
                    most=table.most,
                    student=partial(_student, run, made),
                    rules=lambda: run.rules(run.paired),
                    judges=table.judges,
                    held_out=held_out_of(run),
                    on_group=advance,
                )
        finally:
            for each in made:
                each.close()
    everyone(None)
    return PairFolder.open(out)


def cases_for(run: Run, pairs: PairFolder) -> Sequence[Case]:
    """The cases of a run's pairs, with their regions: of pairs that were built before, those that
    are stored with them."""
    stored = run.recipe.pairs.folder is not None
    return (list(pairs.cases().values()) if stored else ()) or cases_of(run)


def groups_of(run: Run) -> tuple[RunFolder, Sequence[Case]]:
    """The episodes that pairs would be made of, and their cases; for what needs no pairs.

    They are of a stored run, or rolled out by the policy after its cold start.
    """
    cases = cases_of(run)
    if not plays(run):
        return RunFolder.open(str(run.recipe.pairs.run)), cases
    return roll_out(run, cases), cases


def _student(run: Run, made: list[LocalModel]) -> LocalModel:
    """The policy after its cold start, which puts words into its tokens; loaded once."""
    if not made:
        recipe = run.recipe
        options = recipe.model.options.in_run
        made.append(
            model_policy(run.place.cold_start, options=options, tool_form=recipe.tools.form)
        )
    return made[0]
