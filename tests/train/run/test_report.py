"""The report is drawn whatever the cases have."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

from medgym.cases import open_cases, write_cases
from medgym.train.recipe.schema import parse_recipe
from medgym.train.run.opened import Run
from medgym.train.run.report import draw_report

ROW = {"accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 2, "greedy": 0.5, "looked": 0.0, "hit": None}


def test_cases_without_regions_and_with_many_answers_have_a_report(
    tiny_folder: Path, tmp_path: Path
) -> None:
    cases = open_cases("phantom,look=radiograph,question=kind:test[:2]")
    write_cases([c.model_copy(update={"regions": ()}) for c in cases], tmp_path / "c.jsonl")
    data: dict[str, Any] = {
        "name": "bare",
        "model": {"path": str(tiny_folder)},
        "cases": {"train": str(tmp_path / "c.jsonl"), "test": str(tmp_path / "c.jsonl")},
        "rollout": {"max_turns": 1, "max_tokens": 3, "view_size": 64},
    }
    (tmp_path / "cold_start").symlink_to(tiny_folder)
    (tmp_path / "trained").symlink_to(tiny_folder)
    row = ROW | {"by_answer": {f"answer {n}": 0.5 for n in range(40)}}
    results = {"policies": {"cold_start": row, "grpo": row}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    metrics = [{"step": step, "accuracy": 0.5} for step in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, metrics)))
    assert Image.open(draw_report(Run(parse_recipe(data, "bare"), tmp_path))).size[0] > 1000
