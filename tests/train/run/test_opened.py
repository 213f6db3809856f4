"""A run opens its recipe once: no case is made more often than it is needed."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from medgym import registry
from medgym.cases import Case, open_cases, write_cases
from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from medgym.source import Source
from medgym.train.data.curriculum import arranged
from medgym.train.data.order import needed
from medgym.train.grpo.dynamic_sampling import SkipFlat
from medgym.train.recipe.schema import parse_recipe
from medgym.train.run.opened import Run
from medgym.train.run.stages import STAGES, check

MILLION = 1_000_000
SAMPLE = open_cases("phantom,look=radiograph,question=kind:train[:1]")[0]
MADE: Counter[int] = Counter()


class Million(Sequence[Case]):
    """A million cases; each one that is made is counted."""

    def __len__(self) -> int:
        return MILLION

    def __getitem__(self, index: Any) -> Any:
        place = range(MILLION)[index]
        MADE[place] += 1
        return SAMPLE.model_copy(
            update={"id": f"million/train/{place}", "answer": SAMPLE.options[place % 4]}
        )


class Known(Source):
    """Says that all of its cases have gold."""

    name: ClassVar[str] = "known"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    all_gold: ClassVar[bool] = True

    def cases(self, split: str) -> Sequence[Case]:
        return Million()


class Unknown(Known):
    """The same, and says nothing of gold."""

    name: ClassVar[str] = "unknown"
    all_gold: ClassVar[bool] = False


@pytest.fixture(autouse=True)
def sources(monkeypatch: pytest.MonkeyPatch) -> None:
    load = registry.load
    own: dict[str, Any] = {"known": Known, "unknown": Unknown}
    monkeypatch.setattr(registry, "load", lambda kind, name: own.get(name) or load(kind, name))
    MADE.clear()


def run_of(train: str, folder: Path, order: str = "shuffled", **tables: Any) -> Run:
    test = "phantom,look=radiograph,question=kind:test[:4]"
    data: dict[str, Any] = {
        "name": "large",
        "model": {"build": "tiny"},
        "cases": {"train": train, "test": test, "order": order},
        "rollout": {"view_size": 64},
        "grpo": {
            "max_steps": 5, "per_device_train_batch_size": 8, "num_generations": 4,
            "report_to": ["none"],
        },
    }  # fmt: skip
    return Run(parse_recipe(data | tables, "large"), folder)


def test_a_source_that_says_so_is_not_walked_before_the_first_step(tmp_path: Path) -> None:
    run = run_of("known:train", tmp_path / "run")
    check(run)
    assert sum(MADE.values()) == 1, "only the case whose images are looked at"
    count = needed(run.recipe.grpo, len(run.train))
    for case in run.ordered[:count]:
        for _ in range(4):  # a trainer asks for a case once for each member of its group
            assert case.id
    assert [run.ordered[i].id for i in range(count)] == [c.id for c in run.ordered[:count]]
    assert len(MADE) <= count + 1
    assert set(MADE.values()) == {1}


def test_a_source_that_does_not_is_walked_once_and_used_cases_are_made_again(
    tmp_path: Path,
) -> None:
    run = run_of("unknown:train[:20000]", tmp_path / "run", order="balanced")
    check(run)
    assert len(MADE) == 20_000
    used = list(run.ordered[:8])
    assert len({case.answer for case in used[:4]}) == 4
    check(run)
    assert sum(MADE.values()) <= 20_000 + 1 + len(used)
    assert max(MADE.values()) == 2, "once in the walk, once where it is used"


def test_dynamic_sampling_and_a_curriculum_make_no_further_cases(tmp_path: Path) -> None:
    run = run_of("known:train", tmp_path / "run")
    cases = run.ordered
    SkipFlat(cases, seed=0)
    assert not MADE
    names = [cases[3].id, cases[1].id]
    lines = "".join(f'{{"case": "{name}"}}\n' for name in names)
    (tmp_path / "curriculum.jsonl").write_text(lines)
    assert [case.id for case in arranged(cases, tmp_path)] == names
    assert len(MADE) == 4


def test_each_set_of_cases_is_played_by_its_own_view_size(tmp_path: Path) -> None:
    """Own images are shown at 448 pixels, and phantoms of 512 pixels may be shown at 64 only."""
    write_cases([SAMPLE.model_copy(update={"images": _png(tmp_path)})], tmp_path / "own.jsonl")
    test = "phantom,look=radiograph,question=kind:test[:4]"
    run = run_of(
        str(tmp_path / "own.jsonl"),
        tmp_path / "run",
        rollout={},
        cases={"train": str(tmp_path / "own.jsonl"), "test": test},
    )
    check(run)
    assert run.rules(run.train).view_size == 448
    assert run.rules(run.test).view_size == 64
    run.rules(run.test).begin(run.test[0])


def test_a_view_size_that_the_cases_forbid_is_found_before_anything_is_written(
    tmp_path: Path,
) -> None:
    run = run_of("known:train", tmp_path / "run", rollout={"view_size": 448})
    with pytest.raises(UserError, match="may be shown whole only at a view_size of"):
        check(run)
    assert not (tmp_path / "run").exists()


def test_each_stage_comes_after_those_that_it_needs() -> None:
    names = [stage.name for stage in STAGES]
    assert names == ["base", "cold_start", "dpo", "kto", "curriculum", "grpo", "judge"]
    for place, stage in enumerate(STAGES):
        assert set(stage.needs) <= set(names[:place])


def _png(folder: Path) -> Any:
    from PIL import Image

    Image.new("L", (600, 400), 90).save(folder / "own.png")
    return (ImageRef(uri=f"file:{folder / 'own.png'}"),)
