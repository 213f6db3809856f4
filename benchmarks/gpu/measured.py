"""What training costs on a GPU, at a true size: `python -m medgym.benchmarks.gpu --size 2b`.

A Qwen3-VL of random weights goes through the commands that a user would give: `medgym doctor`, and
`medgym train` with three steps of imitation or of GRPO with LoRA, with gradient checkpointing and
without, sampled in process and, where it is installed, by vLLM. Each part is a run of its own, so
that its seconds and its peak of memory are its own. The figures are written after every part, and a
part that would not fit into the time that is left is left out and listed as such.

A model of random weights answers nothing; no figure here says how well a model learns.
"""

import argparse
import contextlib
import gc
import io
import itertools
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from medgym import cli
from medgym.storage.atomic import write_atomic
from medgym.toml import toml_text

from ..machine import cpu, libraries
from .model import SIZES, write_model

STEPS = 3
"""Of each training; the first is not counted, since it warms up."""

LIMIT = 480.0
"""Seconds after which no further part begins."""

Figures = dict[str, Any]

SCALE: dict[str, dict[str, int]] = {
    "tiny": {"image": 512, "view": 64, "tokens": 8, "turns": 2, "rows": 4, "rank": 2},
    "2b": {"image": 1792, "view": 448, "tokens": 128, "turns": 3, "rows": 16, "rank": 32},
    "4b": {"image": 1792, "view": 448, "tokens": 128, "turns": 3, "rows": 16, "rank": 32},
}
"""By size: pixels of an image and of a view, tokens of a reply, turns, episodes in a step, the
adapter's rank."""


def cases(size: str, part: str) -> str:
    """The cases of a size, whose images may be seen whole at its views; `part` as `test[:4]`."""
    return f"phantom,size={SCALE[size]['image']}:{part}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every part; returns 0 unless one failed."""
    parser = argparse.ArgumentParser(prog="python -m medgym.benchmarks.gpu", description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="2b")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--parts", nargs="+", help="only these", choices=sorted(parts("tiny")))
    parser.add_argument("--seconds", type=float, default=LIMIT, help="begin no part after these")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="medgym-gpu-") as folder:
        found = measure(asked.size, Path(folder), asked.parts, asked.seconds, asked.out)
    failed = [name for name, figures in found["parts"].items() if "failed" in figures]
    for name in failed:
        print(f"{name} failed: {found['parts'][name]['failed']}")
    return 1 if failed else 0


def measure(
    size: str, folder: Path, wanted: Sequence[str] | None, limit: float, out: Path | None
) -> Figures:
    """Measure the parts of a size in a folder, print each, and keep what is found so far."""
    start = time.monotonic()
    model = folder / "model"
    count = write_model(size, model, SCALE[size]["view"])
    found: Figures = {"machine": machine(), "libraries": libraries(), "size": size}
    found |= {"weights": count, "seconds_to_make": round(time.monotonic() - start, 1), "parts": {}}
    longest = 0.0
    for name, part in parts(size).items():
        if wanted is not None and name not in wanted:
            continue
        passed = time.monotonic() - start
        if passed + longest > limit:
            figures: Figures = {"left_out": f"{limit - passed:.0f} s were left"}
        else:
            figures = _measured(part, model, folder / name)
            longest = max(longest, figures["seconds"])
        found["parts"][name] = figures
        print(json.dumps({name: figures}), flush=True)
        if out is not None:
            write_atomic(out, json.dumps(found, indent=1).encode())
    return found


def machine() -> str:
    """The GPU, or the processor where there is none."""
    if not torch.cuda.is_available():
        return cpu()
    return f"{torch.cuda.get_device_name()}, {torch.cuda.mem_get_info()[1] / 2**30:.0f} GiB"


def parts(size: str) -> dict[str, Callable[[Path, Path], Figures]]:
    """What is measured, in order: by name, a function of the model's folder and its own."""
    engine = "vllm:{base}?max_loras=4&max_model_len=4096&gpu_memory_utilization=0.4"
    found: dict[str, Callable[[Path, Path], Figures]] = {"doctor": partial(doctor, size)}
    for saves in (True, False):
        name = "checkpointing" if saves else "plain"
        found[f"sft_{name}"] = _training(size, "sft", saves)
        found[f"grpo_{name}"] = _training(size, "grpo", saves)
    if find_spec("vllm") is not None:
        found["grpo_vllm"] = _training(size, "grpo", True, engine)
    return found


def _measured(part: Callable[[Path, Path], Figures], model: Path, folder: Path) -> Figures:
    gc.collect()
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    start = time.monotonic()
    try:
        figures = part(model, folder)
    except Exception as error:  # the other parts are measured nevertheless
        figures = {"failed": f"{type(error).__name__}: {error}"}
    figures["seconds"] = round(time.monotonic() - start, 1)
    if on_gpu:
        figures["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return figures


def doctor(size: str, model: Path, folder: Path) -> Figures:
    """`medgym doctor`: what each check says, with the distance of sampler and trainer.

    A model of random weights may be blind; that alone is no failure here.
    """
    said = _command("doctor", str(model), "--cases", cases(size, "test[:4]"), "--json")
    checks = {each["check"]: each for each in json.loads(said)}
    verdicts = {name: each["verdict"] for name, each in checks.items()}
    return {"verdicts": verdicts, "agreement": checks["agreement"]["figure"]}


def _training(
    size: str, stage: str, checkpointing: bool, engine: str | None = None
) -> Callable[[Path, Path], Figures]:
    def train(model: Path, folder: Path) -> Figures:
        recipe = folder.with_suffix(".toml")
        recipe.write_text(_recipe(size, stage, checkpointing, engine, model), "utf-8")
        lines = folder / ("cold_start.jsonl" if stage == "sft" else "metrics.jsonl")
        with _Clock(lines) as clock:
            _command("train", str(recipe), "--out", str(folder))
        rows = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
        stages = json.loads((folder / "stages.json").read_text("utf-8"))
        found = _sft(rows, clock) if stage == "sft" else _grpo(rows, SCALE[size]["rows"])
        return {"stages": stages} | found

    return train


def _recipe(size: str, stage: str, checkpointing: bool, engine: str | None, model: Path) -> str:
    scale = SCALE[size]
    lora = {"r": scale["rank"], "lora_alpha": 2 * scale["rank"]}
    keys: Figures = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": scale["rows"] // 4,
        "learning_rate": 1e-5,
        "gradient_checkpointing": checkpointing,
    }
    tables: Figures = {
        "name": f"gpu-{size}",
        "model": {"path": str(model)},
        "cases": {"train": cases(size, "train[:64]"), "test": cases(size, "test[:1]")},
        "rollout": {
            "max_turns": scale["turns"],
            "max_tokens": scale["tokens"],
            "view_size": scale["view"],
        },
    }
    if stage == "sft":
        shown = cases(size, f"train[:{scale['rows'] * STEPS}]")
        tables["demonstrations"] = {"policy": "scripted:oracle", "cases": shown}
        tables["sft"] = keys | {"max_steps": STEPS, "lora": lora}
    else:
        # Random weights may be blind; the distance of sampler and trainer is looked at each step.
        tables["sight"] = {"every": 1, "floor": 0.0, "patience": 100}
        tables["lora"] = lora
        tables["grpo"] = keys | {
            "max_steps": STEPS, "save_steps": STEPS, "num_generations": 4, "beta": 0.0,
            "report_to": ["none"],
        }  # fmt: skip
    if engine is not None:
        tables["rollout"]["policy"] = engine
    return toml_text(tables)


def _sft(rows: Sequence[Mapping[str, float]], clock: "_Clock") -> Figures:
    seconds = clock.between()
    tokens = [row["num_tokens"] for row in rows]
    each = [after - before for before, after in itertools.pairwise(tokens)]
    return {
        "step_seconds": _mean(seconds),
        "trained_tokens_per_s": round(sum(each) / sum(seconds)) if seconds else None,
    }


def _grpo(rows: Sequence[Mapping[str, float]], episodes: int) -> Figures:
    later = rows[1:]
    sampled = [row["completions/mean_length"] * episodes for row in later]
    tokens = [row["num_tokens"] for row in rows]
    read = [after - before for before, after in itertools.pairwise(tokens)]
    whole = [row["step_time"] for row in later]
    playing = [row.get("seconds/playing", row["step_time"]) for row in later]
    learning = [row.get("seconds/learning", row["step_time"]) for row in later]
    names = sorted({name for row in rows for name in row if name.startswith("sampler/")})
    return {
        "step_seconds": _mean(whole),
        "playing_seconds": _mean(playing),
        "learning_seconds": _mean(learning),
        "sampled_tokens_per_s": round(sum(sampled) / sum(playing)),
        "trained_tokens_per_s": round(sum(read) / sum(learning)),
        "agreement": {name: _mean([row[name] for row in rows if name in row]) for name in names},
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(f"{statistics.fmean(values):.4g}") if values else None


def _command(*arguments: str) -> str:
    """Run a command of medgym in this process; what it prints.

    Raises:
        RuntimeError: it failed; the error is its own line.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(arguments)
    # A doctor that finds something wrong exits with 1, and has printed what it found.
    if status and not (arguments[0] == "doctor" and out.getvalue().strip()):
        raise RuntimeError(err.getvalue().strip().splitlines()[-1] if err.getvalue() else status)
    return out.getvalue()


class _Clock:
    """Notes when a file gets a new line: the seconds between the steps that it logs."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._times: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_Clock":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            count = self._file.read_bytes().count(b"\n") if self._file.exists() else 0
            now = time.monotonic()
            self._times += [now] * (count - len(self._times))

    def between(self) -> list[float]:
        """Seconds from each line to the next."""
        return [b - a for a, b in zip(self._times, self._times[1:], strict=False)]
