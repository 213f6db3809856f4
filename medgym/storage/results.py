"""`results.json`: the figures of a run, in one schema for whatever judges.

    {
      "format": 1,
      "medgym": "0.1.0",
      "command": "eval",                       what wrote it: `eval`, `train`, ...
      "recipe": "tiny",                        of a training
      "seed": 0,
      "cases": "phantom:test[:200]",           the cases of the judging
      "tools": ["zoom"],
      "rubric": "outcome",
      "judge": "vqa",
      "view_size": 64, "sampling": {"temperature": 0.0, "top_p": 1.0, "max_tokens": 512},
      "prompt": "You are ...",                 a prompt of the user's own
      "policies": {
        NAME: {"sampled": JUDGEMENT, "greedy": JUDGEMENT}
      },
      "overlap": [{"held_out": "[cases] test", "learned": "[cases] train", "of": 200, "cases": 3,
                   "groups": 9, "first": ID, "declared": [SENTENCE]}],   of a training whose cases
                                               share some or a group
      "notes": [{"cases": SPEC, "note": SENTENCE}],       what is to be said of the cases
      "dropped": [{"cases": SPEC, "rows": 3, "first": [{"place": ..., "why": ...}]}],
      "unreadable": {"count": 2, "of": 900,    of training cases
                     "first": [{"case": ID, "why": ...}]},
      "suite": "phantom",                      of a suite; then its benchmarks stand here, and
      "benchmarks": {                          neither `cases` nor `policies` above
        NAME: {"cases": "phantom:test[:200]", "policies": {...}}
      },
      "not_judged": {NAME: SENTENCE},          benchmarks of it that could not be judged, and why
      "arms": ["on", "off", "oracle"],         of an evaluation in several ways of looking;
                                               a benchmark then is `BENCHMARK-ARM`, or only the arm
      "looking": [{"gap": "tool-off gap", "difference": {"value": 0.65, "low": ..., "high": ...,
                   "n": 40, "groups": 40}, "off": RATE, "on": RATE, "p": 0.0001,
                   "verdict": "tools help", "without regions": 0, "left out": 0}],   the gaps
                                               between its arms
      "pivot": [{"benchmark": "", "replies asked for": 40, "box as recorded": RATE}],   of
                                               `medgym pivot`, which judges no policy: `policies`
                                               is empty
      "baselines": [{"baseline": "prior", "accuracy": {...}}],   what policies that never look get
                                               on these cases; of a suite in its benchmarks, of
                                               `medgym robustness` in those of clean cases
      "robustness": {"against": ..., "variants": [...], "corruptions": [...]},   of `medgym
                                               robustness`; of a suite one for each set
      "prices": {MODEL: {"input": 2.5, "output": 10.0}},   with --prices: per million tokens
      "cache": {"hits": 200, "calls": 0, "damaged": 0, "not_kept": 0},   with --cache: replies
                                               of the last command, see `medgym.evals.replay.store`
      "published": [{"name": "GPT-4o", "benchmark": NAME, "value": 0.61, "source": ...}],   of a
                                               suite: what papers report, by other protocols
      "seconds": {"judge": 12.3, "total": 12.3}
    }

A policy has `sampled` where its replies were sampled, `greedy` where temperature was 0, and both
where it was judged twice. `notes`, `dropped` and `unreadable` are there where there is something to
say; of a suite they stand in its benchmarks. A JUDGEMENT is what `Judgement.as_dict` gives, with
`usage` (the tokens of all requests, and their cost) where it is known, `subgroups` (KIND: VALUE:
`accuracy`, `read leniently`, `groups`, and `small` where these are few) where cases are of several
kinds, `calibration` (`stated`, `tokens` or `agreement`: `n`, `groups`, `error`, `brier`,
`overconfidence`, `area`, `bins`, `kept`, `curve`) where a confidence is known, `judged_by` (what a
judge by a model says beside the rules, with `usage` of its own), and `hallucination`, which stands
beside `accuracy` only; figures that only some runs have are `metrics` of it, such as
`difficulty/hard` and `overruled` of a consultation's training.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from medgym.errors import UserError
from medgym.failures import reason_of
from medgym.storage.json_files import read_json

FORMAT = 1
RESULTS = "results.json"


def results(
    asked: Mapping[str, Any],
    figures: Mapping[str, Any],
    seconds: Mapping[str, float],
    *,
    of: Literal["policies", "benchmarks"] = "policies",
) -> dict[str, Any]:
    """The content of `results.json`.

    Args:
        asked: what was asked: `command`, `recipe`, `seed`, `cases`, `tools`, `rubric`, `judge`,
            `view_size`, `sampling`, `suite`, as far as it applies.
        figures: for each policy `{"sampled": judgement.as_dict(), "greedy": ...}`; or for each
            benchmark `{"cases": spec, "view_size": ..., "policies": {...}}`.
        seconds: of each stage; the total is added.
        of: whether the figures are of policies or of a suite's benchmarks.
    """
    import medgym

    total = {"total": round(sum(seconds.values()), 1)}
    head = {"format": FORMAT, "medgym": medgym.__version__}
    return head | dict(asked) | {of: dict(figures), "seconds": dict(seconds) | total}


def read_results(folder: Path) -> dict[str, Any]:
    """What a run's `results.json` holds, in today's schema, also where an older medgym wrote it.

    Raises:
        UserError: the folder has no readable `results.json`, or a newer medgym wrote it.
    """
    path = folder / RESULTS
    found = read_json(path)
    written = found.get("format", 0)
    if type(written) is int and written > FORMAT:
        raise UserError(f"{path} has the format {written}; fix: install a newer medgym")
    parts = [found.get(name, {}) for name in ("policies", "benchmarks")]
    if type(written) is not int or not all(isinstance(part, dict) for part in parts):
        raise UserError(f"{path} holds no figures of a run; fix: restore it from a copy")
    if "format" in found:
        return found
    if "policies" not in found:  # of `medgym eval`: one policy, its figures beside what was asked
        asked = {key: found.pop(key) for key in ("policy", "cases") if key in found}
        name = str(asked.pop("policy", "policy"))
        judgement = {"policy": name, "reward": None, "metrics": {}} | found
        return {"command": "eval"} | asked | {"policies": {name: {"sampled": judgement}}}
    try:
        policies = {name: in_format_1(name, row) for name, row in found["policies"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path} holds no figures of a run ({reason_of(error)}); fix: restore it from a copy"
        ) from error
    return {"command": "train"} | found | {"policies": policies}


def in_format_1(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """One policy's figures in today's schema, also where they are of an older training."""
    if "sampled" in row or ("greedy" in row and isinstance(row["greedy"], Mapping)):
        return dict(row)
    left = dict(row)
    keys = {"value": "accuracy", "low": "low", "high": "high"}
    count = left.pop("n")
    sampled = {key: left.pop(old) for key, old in keys.items()} | {"n": count}
    greedy = {key: left.pop(f"greedy_{key}", None) for key in ("low", "high")}
    greedy = {"value": left.pop("greedy"), **greedy, "n": count}
    known = ("looked", "hit", "turns", "calls", "tokens")
    figures = {key: left.pop(key) for key in known if key in left}
    by_answer = {
        answer: {"value": value, "low": None, "high": None, "n": None}
        for answer, value in left.pop("by_answer", {}).items()
    }
    metrics = {f"difficulty/{level}": rate for level, rate in left.pop("by_difficulty", {}).items()}
    metrics |= left
    judged = {"policy": name, "accuracy": sampled, **figures, "by_answer": by_answer}
    return {
        "sampled": judged | {"metrics": metrics},
        "greedy": {"policy": name, "accuracy": greedy},
    }
