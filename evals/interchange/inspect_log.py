"""A stored run as logs that inspect_ai reads and its viewer opens: one `.eval` file a benchmark.

Its own classes write them, so that the schema is theirs. What inspect_ai has no place for is in
`metadata`: verdicts and versions of scorers, the case's group, looks.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalError,
    EvalLog,
    EvalMetric,
    EvalPlan,
    EvalResults,
    EvalSample,
    EvalScore,
    EvalSpec,
    EvalStats,
    write_eval_log,
)
from inspect_ai.model import GenerateConfig, ModelOutput, ModelUsage
from inspect_ai.scorer import CORRECT, INCORRECT, Score

import medgym
from medgym.scorer import Verdict
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Trajectory

from ..outcomes.figures import accuracy
from ..outcomes.outcome import CaseOutcome
from ..spending import usage_of
from .inspect_images import LogImages
from .inspect_messages import chat_messages
from .logged import EpisodesByBenchmark, Logged, LoggedEpisode, task_of

SCORERS = {"strict": False, "lenient": True}
"""The names of the two scores, and whether the reading is lenient."""

STATUS: Mapping[str, Literal["success", "started", "cancelled"]] = {
    "done": "success", "running": "started", "stopped": "cancelled",
}  # fmt: skip
"""A run's status as inspect_ai says it. Its viewer shows what is `started` as still running."""


def write_inspect_logs(folder: RunFolder, benchmarks: EpisodesByBenchmark, where: Path) -> Logged:
    """Write a log for each benchmark."""
    where.mkdir(parents=True, exist_ok=True)
    files, notes = [], []
    for benchmark, found in benchmarks:
        images = LogImages(folder.images)
        task = task_of(folder, benchmark)
        path = where / f"{task}.eval"
        write_eval_log(_log(folder, task, benchmark, found, images), str(path))
        files.append(path)
        notes += [f"{task}: {note}" for note in images.notes]
    return Logged(tuple(files), tuple(notes))


def _log(
    folder: RunFolder, task: str, benchmark: str, found: Iterable[LoggedEpisode], images: LogImages
) -> EvalLog:
    policy, pairs = "", []
    for each in found:
        policy = each.trajectory.policy
        pairs.append((each.outcome, _sample(each, images)))
    pairs.sort(key=lambda pair: pair[0].key)
    outcomes = [outcome for outcome, _ in pairs]
    samples = [sample for _, sample in pairs]
    asked, manifest = folder.asked, folder.manifest
    cases = asked.get("cases")
    spec = cases.get(benchmark or "test") if isinstance(cases, Mapping) else cases
    started = str(manifest.get("started", ""))
    name = _id(task, policy, started)
    config = GenerateConfig(
        temperature=asked.get("temperature"),
        top_p=asked.get("top_p"),
        max_tokens=asked.get("max_tokens"),
    )
    usage = _total([sample.model_usage for sample in samples])
    repeats = max(each.member for each in outcomes) + 1
    return EvalLog(
        status=STATUS[folder.status],
        eval=EvalSpec(
            eval_id=f"{name}-eval",
            run_id=_id(started, str(folder.asked)),
            task_id=f"{name}-task",
            created=started,
            task=task,
            dataset=EvalDataset(
                name=str(spec),
                samples=len({each.case for each in outcomes}),
                sample_ids=list(dict.fromkeys(each.case for each in outcomes)),
                shuffled=False,
            ),
            model=policy,
            model_generate_config=config,
            config=EvalConfig(epochs=repeats),
            packages={"medgym": medgym.__version__},
            metadata={"medgym": {"asked": asked, "benchmark": benchmark}},
        ),
        plan=EvalPlan(name="medgym", config=config),
        results=EvalResults(
            total_samples=len(outcomes),
            completed_samples=sum(each.is_counted for each in outcomes),
            scores=[_figures(name, outcomes, lenient) for name, lenient in SCORERS.items()],
        ),
        stats=EvalStats(
            started_at=started, completed_at=str(manifest.get("ended", "")), model_usage=usage
        ),
        samples=samples,
    )


def _id(*words: str) -> str:
    return hashlib.blake2b("\n".join(words).encode(), digest_size=11).hexdigest()


def _sample(judged: LoggedEpisode, images: LogImages) -> EvalSample:
    case, trajectory, outcome = judged.case, judged.trajectory, judged.outcome
    name = f"{_id(case.id)}-{trajectory.member}"
    messages = chat_messages(trajectory, images, name)
    last = next((each for each in reversed(messages) if each.role == "assistant"), None)
    return EvalSample(
        id=case.id,
        epoch=trajectory.member + 1,
        input=case.question,
        choices=list(case.options) or None,
        target=case.answer,
        messages=messages,
        output=ModelOutput.from_message(last) if last is not None else ModelOutput(),
        scores={name: _score(outcome, lenient) for name, lenient in SCORERS.items()},
        metadata=_metadata(trajectory, outcome),
        model_usage=_usage(trajectory),
        uuid=name,
        error=_error(trajectory.failure),
    )


def _error(failure: str | None) -> EvalError | None:
    if failure is None:
        return None
    return EvalError(message=failure, traceback=failure, traceback_ansi=failure)


def _score(outcome: CaseOutcome, lenient: bool) -> Score:
    verdict: Verdict = outcome.lenient_verdict if lenient else outcome.verdict
    facts = {
        "verdict": verdict,
        "score": outcome.lenient_score if lenient else outcome.score,
        "scorer": outcome.scorer,
        "version": outcome.version,
    }
    said = (
        f"{verdict}, by {outcome.scorer} {outcome.version}, "
        f"{'any form of an answer' if lenient else 'only the form that rewards count'}"
    )
    if not outcome.is_counted:
        return Score.unscored(reason=verdict, explanation=outcome.failure, metadata=facts)
    return Score(
        value=CORRECT if verdict == "right" else INCORRECT,
        answer=outcome.answer,
        explanation=said,
        metadata=facts,
    )


def _metadata(trajectory: Trajectory, outcome: CaseOutcome) -> dict[str, Any]:
    return {
        "source": outcome.source,
        "group": "/".join(outcome.unit),
        "case_hash": outcome.case_hash,
        "answer_type": outcome.answer_type,
        "modality": outcome.modality,
        "body_part": outcome.body_part,
        "language": outcome.language,
        "reward": outcome.reward,
        "looked": outcome.looked,
        "hit": outcome.hit,
        "tool_calls": outcome.calls,
        "faults": list(trajectory.faults),
        "roles": {branch.role: branch.record.answer for branch in trajectory.branches} or None,
    }


def _usage(trajectory: Trajectory) -> dict[str, ModelUsage]:
    found: dict[str, ModelUsage] = {}
    for _, part in trajectory.parts():
        usage = usage_of(part)
        if usage is not None:
            read, written = usage.prompt_tokens, usage.completion_tokens
            made = ModelUsage(input_tokens=read, output_tokens=written, total_tokens=read + written)
            found[part.policy] = found.get(part.policy, ModelUsage()) + made
    return found


def _total(usages: Sequence[Mapping[str, ModelUsage]]) -> dict[str, ModelUsage]:
    found: dict[str, ModelUsage] = {}
    for usage in usages:
        for model, used in usage.items():
            found[model] = found.get(model, ModelUsage()) + used
    return found


def _figures(name: str, outcomes: Sequence[CaseOutcome], lenient: bool) -> EvalScore:
    rate = accuracy(outcomes, lenient=lenient)
    counted = sum(each.is_counted for each in outcomes)
    return EvalScore(
        name=name,
        scorer=name,
        scored_samples=counted,
        unscored_samples=len(outcomes) - counted,
        metrics={
            key: EvalMetric(name=key, value=value)
            for key, value in (("accuracy", rate.value), ("low", rate.low), ("high", rate.high))
            if counted
        },
        metadata={"interval": "95 %, over groups"},
    )
