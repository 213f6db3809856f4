"""The report is drawn whatever the cases have."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from medgym.cases import open_cases, write_cases
from medgym.train.recipe.schema import parse_recipe
from medgym.train.run.opened import Run
from medgym.train.run.report import draw_report

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure

SHOWN_ANSWERS = 12
"""Of any more answers the report shows the first ones."""

ROW = {"accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 2, "greedy": 0.5, "looked": 0.0, "hit": None}


def test_cases_without_regions_and_with_many_answers_have_a_report(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = open_cases("phantom,look=radiograph,question=kind:test[:2]")
    write_cases([c.model_copy(update={"regions": ()}) for c in cases], tmp_path / "c.jsonl")
    data: dict[str, Any] = {
        "name": "bare",
        "model": {"path": str(tiny_folder)},
        "cases": {"train": str(tmp_path / "c.jsonl"), "test": str(tmp_path / "c.jsonl")},
        "rollout": {"max_turns": 1, "max_tokens": 3, "view_size": 64},
        "grpo": {"max_steps": 2, "report_to": ["none"]},
    }
    (tmp_path / "cold_start").symlink_to(tiny_folder)
    (tmp_path / "trained").symlink_to(tiny_folder)
    row = ROW | {"by_answer": {f"answer {n}": 0.5 for n in range(40)}}
    results = {"policies": {"cold_start": row, "grpo": row}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    metrics: list[dict[str, float]] = [{"step": step, "accuracy": 0.5} for step in (1, 2)]
    metrics.append({"step": 3, "loss": 0.1})  # it learned again from what step 2 played
    figures = {"eval_accuracy": 0.4, "eval_accuracy_low": 0.1, "eval_accuracy_high": 0.8}
    metrics.append({"step": 3, **figures})
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, metrics)))
    drawn: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *args: Any, **options: Any) -> None:
        drawn.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    path = draw_report(Run(parse_recipe(data, "bare"), tmp_path))
    with Image.open(path) as image:
        image.load()
        assert image.size == (1800, 1000)

    (figure,) = drawn
    panels = {axis.get_title(): axis for axis in figure.axes}
    assert "Learning" in panels
    learnt = panels["Learning"].get_lines()[0].get_xydata().tolist()
    assert learnt == [[1.0, 0.5], [2.0, 0.5]]
    (held_out,) = panels["Learning"].containers
    points, _, (bar,) = held_out.lines
    assert points.get_xydata().tolist() == [[3.0, 0.4]]
    assert bar.get_segments()[0].tolist() == [[3.0, pytest.approx(0.1)], [3.0, pytest.approx(0.8)]]
    answers = next(axis for title, axis in panels.items() if "by answer" in title)
    assert [bar.get_height() for bar in answers.patches] == [0.5] * 2 * SHOWN_ANSWERS
    # A case without regions is shown without a lesion: two pictures, the third place empty.
    assert [len(axis.get_images()) for axis in figure.axes[4:7]] == [1, 1, 0]
    assert not any(axis.patches for axis in figure.axes[4:7])
