"""The command `medgym score`: judge a stored run again, by today's scorers, without playing."""

from pathlib import Path
from typing import Annotated, Any

import typer

from medgym.cases import Case
from medgym.commands.printing import WIDTH, percent, print_json, print_table
from medgym.commands.shared_options import AsJson
from medgym.errors import UserError
from medgym.metrics.rate import Amount, Rate
from medgym.trajectory import Trajectory

from ..answer_tables import missing_lines
from ..breakdown.results import breakdown
from ..breakdown.subgroups import kinds_named
from ..breakdown.tables import print_breakdown
from ..interchange.logs import LogForm, require_inspect, write_logs
from ..model_judge.answers import JUDGED_BY, judged_rows
from ..model_judge.beside import judge_beside
from ..model_judge.options import JudgeAll, JudgedBy
from ..outcomes.answer_text import last_reply
from ..outcomes.answers.labelled_reports import LabelledReports
from ..outcomes.figures import summary
from ..outcomes.outcome import CaseOutcome, outcome_of
from ..outcomes.packed import PackedRows
from ..outcomes.stored import left_out, run_and_policy, stored_episodes
from ..outcomes.table import write_outcomes
from ..scorers.legacy.answered import Answered
from ..scorers.legacy.rules import legacy_rule
from ..spending import Spending, prices_of
from ..tables import SHARES, figure, interval
from ..viewer.tokens import Pieces
from .eval_options import By
from .log_option import LogFormat, print_logs


def score(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="The folder of a run; of a training also FOLDER:POLICY."
        ),
    ],
    scorer: Annotated[
        str | None,
        typer.Option(
            "--scorer",
            metavar="legacy:NAME",
            help="Also what a published harness counts, faults included: legacy:llava-med, "
            "legacy:medevalkit or legacy:deeptumorvqa.",
        ),
    ] = None,
    labellers: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Also compare reports by models that you have installed with their weights: "
            "radgraph, chexbert.",
        ),
    ] = None,
    by: By = None,
    judged_by: JudgedBy = None,
    judge_all: JudgeAll = False,
    log_format: LogFormat = None,
    as_json: AsJson = False,
) -> None:
    """Judge the stored episodes of any run by today's scorers; nothing is played.

    The outcome of each case is written to `outcomes.parquet` in the run's folder; of a training it
    is only printed.

    Example: medgym score runs/prior
    """
    kinds = () if by is None else kinds_named(by)
    rule = None if scorer is None else legacy_rule(scorer)
    if log_format is LogForm.INSPECT:
        require_inspect()
    labelled = None if labellers is None else LabelledReports(labellers)
    with judge_beside(judged_by, every=judge_all) as beside:
        folder, policy = run_and_policy(run)
        outcomes, prices = PackedRows[CaseOutcome](), prices_of(folder)
        beside.prices = prices
        spent: dict[str, Spending] = {}
        pieces = Pieces(folder.path)
        answers: dict[str, list[Answered]] = {}
        for benchmark, case, trajectory in stored_episodes(folder, policy):
            outcome = outcome_of(case, trajectory, benchmark, pieces)
            outcomes.add(outcome)
            spent.setdefault(benchmark, Spending(prices)).add(trajectory)
            beside.add(case, trajectory, outcome)
            if labelled is not None:
                labelled.add(case, trajectory, outcome)
            if rule is not None and outcome.is_counted:
                answers.setdefault(benchmark, []).append(_answered(case, trajectory, outcome))
        for outcome in () if policy else left_out(folder, outcomes):
            outcomes.add(outcome)
        written: Path | None = None if policy else write_outcomes(folder.path, outcomes)
        judged = beside.figures(folder.path)
        if judged_by is not None and not judged:
            raise UserError(
                f"{run} has no open answers and no reports, which a judge is for; fix: have it "
                "grade all answers (--judge-all)"
            )
    logged = None if log_format is None else write_logs(folder, log_format, policy=policy)
    names = list(dict.fromkeys(outcome.benchmark for outcome in outcomes))
    parts = {
        name: PackedRows(o for o in outcomes if o.benchmark == name) if len(names) > 1 else outcomes
        for name in names
    }
    spent = {name: spent.get(name, Spending(prices)) for name in names}
    figures = {name: summary(part) | spent[name].as_dict() for name, part in parts.items()}
    kept = {name: breakdown(part) for name, part in parts.items()}
    if labelled is not None:
        for name, found in figures.items():
            found |= labelled.figures(name)
    if rule is not None:
        for name, found in figures.items():
            found[str(scorer)] = {"rule": rule.about, **rule.figures(answers.get(name, []))}
    for name, said in judged.items():
        figures[name][JUDGED_BY] = said
    if as_json:
        whole = {name: each | kept[name] for name, each in figures.items()}
        content = {"run": str(folder.path), "policy": policy, "benchmarks": whole}
        print_json(content | ({} if logged is None else logged.as_dict()))
        return
    for name, found in figures.items():
        if name:
            print(name)
        found.pop("usage", None)
        legacy, by_judge = found.pop(str(scorer), {}), found.pop(JUDGED_BY, None)
        figures_shown = [(key, _figure(key, value)) for key, value in found.items()]
        print_table([*figures_shown, *spent[name].rows()], WIDTH)
        if legacy:
            print(f"{scorer}: {legacy.pop('rule')}, faults included; no verdict of medgym's")
            print_table([(f"  {key}", _shown(value)) for key, value in legacy.items()], WIDTH)
        if by_judge is not None:
            print_table(judged_rows(by_judge), WIDTH)
    print_breakdown(kept, kinds)
    for line in missing_lines(figures.values()):
        print(line)
    if written is not None:
        print(f"outcomes: {written}")
    print_logs(logged)


def _answered(case: Case, trajectory: Trajectory, outcome: CaseOutcome) -> Answered:
    answer = trajectory.answer
    text = answer if answer is not None else last_reply(trajectory) or ""
    return Answered(case, text, outcome.lenient_verdict == "right")


def _figure(name: str, value: Any) -> str:
    return percent(value) if name.startswith(SHARES) and value is not None else _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, dict) and value.get("n") == 0:
        return "- (no episode counts)"
    if isinstance(value, dict) and "unit" in value:
        return figure(Amount.from_dict(value))
    if isinstance(value, dict) and "low" in value:
        return interval(Rate(**value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
