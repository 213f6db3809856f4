"""The report is drawn whatever the cases have."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medgym.cases import open_cases, write_cases
from medgym.episode import Rules
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling
from medgym.rollout import collect
from medgym.tool import load_tools
from medgym.train.recipe.schema import parse_recipe
from medgym.train.run.looks import close_up, gold_of, looks_sheet
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


class Scrolls(Policy):
    """Goes to an axial slice, looks at a part of it, and answers."""

    spec = "scrolls"

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        made = sum(message.role == "assistant" for message in conversation)
        calls = (
            ("slice", {"view": 0, "plane": "axial", "index": 2}),
            ("zoom", {"view": 1, "box": BOX}),
        )
        return Reply(render_call(*calls[made]) if made < 2 else render_answer("A"))


BOX = [0, 0, 500, 500]
COLOURS = "#d55e00", "#0072b2"


def test_looks_at_a_volume_are_shown_as_the_scout_the_slice_and_the_close_look() -> None:
    (case,) = open_cases("phantom,look=ct-volume,question=kind,size=128,depth=8:train[:1]")
    rules = Rules(load_tools(["slice", "zoom"]), view_size=64)
    played = list(collect([case], Scrolls(), rules, group_size=2))
    workspace = rules.begin(case).workspace
    one, row, square = (384 + 2 * 8, 384 + 16 + 3 * 8, (384 + 8) * 2 + 8)
    assert looks_sheet(workspace, case, 0, [], COLOURS).size == (one, row)
    made = looks_sheet(workspace, case, 0, played, COLOURS)
    assert made.size == (square, 2 * row - 8)
    drawn = (np.asarray(made) == (0xD5, 0x5E, 0x00)).all(axis=-1)
    right = (np.asarray(made) == (0x00, 0x72, 0xB2)).all(axis=-1)
    shown = right if played[0].correct else drawn
    # The looks are boxed on the slice, which stands at the top right, and on nothing else.
    assert shown[:row, one:].any()
    assert not shown[:, : one - 8].any()
    gold = gold_of(case)
    assert gold is not None
    close, place = close_up(workspace, gold)
    assert place == f", axial {gold.middle} of 0 to 7"
    x0, y0, x1, y1 = gold.box_px
    assert close.width % (2 * max(x1 - x0, y1 - y0)) == 0
