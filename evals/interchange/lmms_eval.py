"""A stored run as results of lmms-eval: `DATE_results.json` and `DATE_samples_TASK.jsonl`.

The form is that of version 0.7 with `--log_samples`. Metrics are named `accuracy`, by the strict
rule, and `accuracy_lenient`. Each line of samples has also what lmms-eval has no key for: the case,
its group, and verdicts.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import medgym
from medgym.storage.atomic import write_atomic
from medgym.storage.run_folder import RunFolder

from ..outcomes.answer_text import last_reply
from ..outcomes.outcome import CaseOutcome
from ..spending import usage_of
from ..statistics.groups import Groups
from .logged import Logged, LoggedEpisode, task_of

METRICS = {"accuracy": False, "accuracy_lenient": True}
"""The names of the two accuracies, and whether the reading is lenient."""


def write_lmms_eval(
    folder: RunFolder, judged: Mapping[str, Sequence[LoggedEpisode]], where: Path
) -> Logged:
    """Write the results of all benchmarks in one file, and the samples of each in another.

    Cases that could not be played are left out, as every figure leaves them out; a note says how
    many.
    """
    asked, manifest = folder.asked, folder.manifest
    first = next(iter(judged.values()))[0]
    model = first.trajectory.policy
    date = re.sub(r"[^0-9T]", "", str(manifest.get("started", "")))[:15]
    here = where / re.sub(r'["<>:/|\\?*\[\]]+', "__", model)
    here.mkdir(parents=True, exist_ok=True)
    counted = {
        task_of(folder, name): [each for each in found if each.outcome.is_counted]
        for name, found in judged.items()
    }
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
    left = sum(map(len, judged.values())) - sum(map(len, counted.values()))
    notes = (f"{left} episodes that could not be played are left out",) if left else ()
    return Logged((path, *files), notes)


def _rows(judged: Sequence[LoggedEpisode]) -> list[dict[str, Any]]:
    """A row for each case, with all its replies; its figures are means over them."""
    cases: dict[str, list[LoggedEpisode]] = {}
    for each in judged:
        cases.setdefault(each.case.id, []).append(each)
    return [_row(place, found) for place, found in enumerate(cases.values())]


def _row(place: int, judged: Sequence[LoggedEpisode]) -> dict[str, Any]:
    case, outcomes = judged[0].case, [each.outcome for each in judged]
    replies = [last_reply(each.trajectory) or "" for each in judged]
    answers = [each.answer if each.answer is not None else "" for each in outcomes]
    several = len(judged) > 1
    return {
        "doc_id": place,
        "target": case.answer,
        "resps": replies,
        "filtered_resps": answers if several else answers[0],
        "token_counts": [_tokens(each) for each in judged],
        "doc_hash": _sha256(outcomes[0].case_hash),
        "input": judged[0].trajectory.question or case.question,
        **{name: _mean(outcomes, lenient) for name, lenient in METRICS.items()},
        "score": _mean(outcomes, lenient=False),  # where lmms-eval's own comparison looks
        "case": case.id,
        "group": "/".join(outcomes[0].unit),
        "verdicts": [each.verdict for each in outcomes],
        "lenient_verdicts": [each.lenient_verdict for each in outcomes],
    }


def _tokens(judged: LoggedEpisode) -> dict[str, int] | None:
    used = [usage_of(part) for _, part in judged.trajectory.parts()]
    known = [usage for usage in used if usage is not None]
    if not known:
        return None
    return {
        "input_tokens": sum(usage.prompt_tokens for usage in known),
        "output_tokens": sum(usage.completion_tokens for usage in known),
    }


def _right(outcome: CaseOutcome, lenient: bool) -> float:
    return float((outcome.lenient_verdict if lenient else outcome.verdict) == "right")


def _mean(outcomes: Sequence[CaseOutcome], lenient: bool) -> float:
    return math.fsum(_right(each, lenient) for each in outcomes) / len(outcomes)


def _figures(task: str, judged: Sequence[LoggedEpisode]) -> dict[str, Any]:
    """Accuracies with the standard error of the mean, and the one over groups."""
    found: dict[str, Any] = {"alias": task, "samples": _cases(judged)}
    outcomes = [each.outcome for each in judged]
    for name, lenient in METRICS.items():
        if not outcomes:
            continue
        right = [_right(each, lenient) for each in outcomes]
        mean = math.fsum(right) / len(right)
        found[f"{name},none"] = mean
        found[f"{name}_stderr,none"] = math.sqrt(mean * (1 - mean) / max(1, len(right) - 1))
        found[f"{name}_stderr_clustered,none"] = _clustered(
            [value - mean for value in right], outcomes
        )
    return found


def _clustered(deviations: Sequence[float], outcomes: Sequence[CaseOutcome]) -> float:
    """The standard error of a mean over clustered cases: of the sums of deviations by group."""
    groups = Groups.of([deviations], [each.unit for each in outcomes])
    return math.sqrt(math.fsum(total**2 for total in groups.sums[:, 0])) / len(deviations)


def _cases(judged: Sequence[LoggedEpisode]) -> int:
    return len({each.case.id for each in judged})


def _repeats(judged: Sequence[LoggedEpisode]) -> int:
    return max((each.outcome.member for each in judged), default=0) + 1


def _versions(judged: Sequence[LoggedEpisode]) -> str:
    """The versions of the scorers, as one text."""
    scorers = sorted({(each.outcome.scorer, each.outcome.version) for each in judged})
    return ", ".join(f"{name} {version}" for name, version in scorers)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
