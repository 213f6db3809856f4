"""A stored run as results of lmms-eval: `DATE_results.json` and `DATE_samples_TASK.jsonl`.

The form is that of version 0.7 with `--log_samples`. Metrics are named `accuracy`, by the strict
rule, and `accuracy_lenient`. Each line of samples has also what lmms-eval has no key for: the case,
its group, and verdicts.
"""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import medgym
from medgym.metrics.groups import Groups
from medgym.storage.atomic import write_atomic
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Trajectory

from ..outcomes.answer_text import last_reply
from ..outcomes.outcome import CaseOutcome
from ..spending import usage_of
from .logged import EpisodesByBenchmark, Logged, LoggedEpisode, task_of

METRICS = {"accuracy": False, "accuracy_lenient": True}
"""The names of the two accuracies, and whether the reading is lenient."""

ROUNDING = 1e-9
"""A standard error below this is 0, but for rounding."""


@dataclass(frozen=True)
class SampleRow:
    """What a row needs of an episode."""

    outcome: CaseOutcome
    question: str
    reply: str
    tokens: dict[str, int] | None


def write_lmms_eval(folder: RunFolder, benchmarks: EpisodesByBenchmark, where: Path) -> Logged:
    """Write the results of all benchmarks in one file, and the samples of each in another.

    Cases that could not be played are left out, as every figure leaves them out; a note says how
    many.
    """
    asked, manifest = folder.asked, folder.manifest
    model, left = "", 0
    counted: dict[str, list[SampleRow]] = {}
    for name, episodes in benchmarks:
        kept = counted.setdefault(task_of(folder, name), [])
        for each in episodes:
            model = each.trajectory.policy
            if each.outcome.is_counted:
                kept.append(_sample_row(each))
            else:
                left += 1
        kept.sort(key=lambda answered: answered.outcome.key)
    date = re.sub(r"[^0-9T]", "", str(manifest.get("started", "")))[:15].replace("T", "_")
    here = where / re.sub(r'["<>:/|\\?*\[\]]+', "__", model)
    here.mkdir(parents=True, exist_ok=True)
    files, hashes = [], {}
    for task, found in counted.items():
        rows = _rows(found)
        path = here / f"{date}_samples_{task}.jsonl"
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomic(path, lines.encode("utf-8"))
        files.append(path)
        marks = (f"sample_{place}{row['doc_hash']}" for place, row in enumerate(rows))
        hashes[task] = _sha256("".join(marks))
    results: dict[str, Any] = {
        "results": {task: _figures(task, found) for task, found in counted.items()},
        "group_subtasks": {task: [] for task in counted},
        "configs": {task: {"task": task, "repeats": _repeats(found)} for task, found in
                    counted.items()},
        "versions": {task: _versions(found) for task, found in counted.items()},
        "n-shot": dict.fromkeys(counted, 0),
        "higher_is_better": {task: dict.fromkeys(METRICS, True) for task in counted},
        "n-samples": {
            task: {"original": _cases(found), "effective": _cases(found)}
            for task, found in counted.items()
        },
        "config": {
            "model": "medgym",
            "model_args": f"model={model}",
            "gen_kwargs": {
                key: asked[key] for key in ("temperature", "top_p", "max_tokens") if key in asked
            },
            "random_seed": asked.get("seed"),
            "medgym_version": medgym.__version__,
        },
        "git_hash": manifest.get("commit"),
        "date": date,
        "task_hashes": hashes,
        "model_source": "medgym",
        "model_name": model,
        "model_name_sanitized": here.name,
        "system_instruction": asked.get("prompt") or None,
    }  # fmt: skip
    path = here / f"{date}_results.json"
    write_atomic(path, json.dumps(results, indent=2, ensure_ascii=False).encode("utf-8"))
    notes = (f"{left} episodes that could not be played are left out",) if left else ()
    return Logged((path, *files), notes)


def _sample_row(episode: LoggedEpisode) -> SampleRow:
    trajectory = episode.trajectory
    return SampleRow(
        episode.outcome,
        trajectory.question or episode.case.question,
        last_reply(trajectory) or "",
        _tokens(trajectory),
    )


def _tokens(trajectory: Trajectory) -> dict[str, int] | None:
    used = [usage_of(part) for _, part in trajectory.parts()]
    known = [usage for usage in used if usage is not None]
    if not known:
        return None
    return {
        "input_tokens": sum(usage.prompt_tokens for usage in known),
        "output_tokens": sum(usage.completion_tokens for usage in known),
    }


def _rows(answered: Sequence[SampleRow]) -> list[dict[str, Any]]:
    """A row for each case, with all its replies; its figures are means over them."""
    cases: dict[str, list[SampleRow]] = {}
    for each in answered:
        cases.setdefault(each.outcome.case, []).append(each)
    return [_row(place, found) for place, found in enumerate(cases.values())]


def _row(place: int, answered: Sequence[SampleRow]) -> dict[str, Any]:
    outcomes = [each.outcome for each in answered]
    answers = [each.answer if each.answer is not None else "" for each in outcomes]
    first = outcomes[0]
    return {
        "doc_id": place,
        "target": first.gold,
        "resps": [each.reply for each in answered],
        "filtered_resps": answers if len(answers) > 1 else answers[0],
        "token_counts": [each.tokens for each in answered],
        "doc_hash": _sha256(first.case_hash),
        "input": answered[0].question,
        **{name: _mean(outcomes, lenient) for name, lenient in METRICS.items()},
        "score": _mean(outcomes, lenient=False),  # where lmms-eval's own comparison looks
        "case": first.case,
        "group": "/".join(first.unit),
        "verdicts": [each.verdict for each in outcomes],
        "lenient_verdicts": [each.lenient_verdict for each in outcomes],
    }


def _right(outcome: CaseOutcome, lenient: bool) -> float:
    return float((outcome.lenient_verdict if lenient else outcome.verdict) == "right")


def _mean(outcomes: Sequence[CaseOutcome], lenient: bool) -> float:
    return math.fsum(_right(each, lenient) for each in outcomes) / len(outcomes)


def _figures(task: str, answered: Sequence[SampleRow]) -> dict[str, Any]:
    """Accuracies with the standard error of the mean, and the one over groups.

    A standard error of 0 would claim certainty, and cases or groups that are all alike do not give
    it: where these say nothing, there is none, which lmms-eval writes as `N/A`.
    """
    found: dict[str, Any] = {"alias": task, "samples": _cases(answered)}
    outcomes = [each.outcome for each in answered]
    for name, lenient in METRICS.items():
        if not outcomes:
            continue
        right = [_right(each, lenient) for each in outcomes]
        mean = math.fsum(right) / len(right)
        found[f"{name},none"] = mean
        independent = math.sqrt(mean * (1 - mean) / max(1, len(right) - 1))
        clustered = _clustered([value - mean for value in right], outcomes)
        found[f"{name}_stderr,none"] = _known(independent)
        found[f"{name}_stderr_clustered,none"] = _known(clustered)
    return found


def _known(error: float) -> float | str:
    return error if error > ROUNDING else "N/A"


def _clustered(deviations: Sequence[float], outcomes: Sequence[CaseOutcome]) -> float:
    """The standard error of a mean over clustered cases: of the sums of deviations by group."""
    groups = Groups.of([deviations], [each.unit for each in outcomes])
    return math.sqrt(math.fsum(total**2 for total in groups.sums[:, 0])) / len(deviations)


def _cases(answered: Sequence[SampleRow]) -> int:
    return len({each.outcome.case for each in answered})


def _repeats(answered: Sequence[SampleRow]) -> int:
    return max((each.outcome.member for each in answered), default=0) + 1


def _versions(answered: Sequence[SampleRow]) -> str:
    """The versions of the scorers, as one text."""
    scorers = sorted({(each.outcome.scorer, each.outcome.version) for each in answered})
    return ", ".join(f"{name} {version}" for name, version in scorers)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
