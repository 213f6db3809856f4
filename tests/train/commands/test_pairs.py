"""`medgym pairs`: built from a run, shown as a page, exported for TRL."""

import json
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import Case, open_cases
from medgym.cli import main
from medgym.storage.run_folder import RunFolder
from medgym.train.data.pair_export import export_pairs
from medgym.train.data.preferences import Pair, PairFolder

from ..data.preferences.conftest import CASES, group_of, stored


@pytest.fixture
def run(tmp_path: Path) -> Path:
    cases = open_cases(f"{CASES}[:2]")
    return stored(tmp_path / "run", [each for case in cases for each in group_of(case)])


def test_pairs_are_built_and_counted(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "pairs")
    assert main(["pairs", "build", str(run), "--make", "outcome,looking", "--out", out,
                 "--most", "2", "--json"]) == 0  # fmt: skip
    told = json.loads(capsys.readouterr().out)
    assert told["pairs"] == len(PairFolder.open(out)) == 4
    assert told["made"] == {"outcome": 2, "looking": 2}
    assert main(["pairs", "build", str(run), "--make", "format", "--out", f"{out}-2"]) == 0
    assert "2 of 2 cases" in capsys.readouterr().out


def test_what_cannot_be_built_is_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "pairs")
    for make, said in (
        ("outcme", "did you mean 'outcome'"),
        ("hallucination", "needs the model that learns"),
        ("outcome,margin=9", "2 groups without one of outcome"),
    ):
        assert main(["pairs", "build", str(run), "--make", make, "--out", out]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert said in lines[0]
    assert not Path(out).exists()
    assert main(["pairs", "build", str(run), "--out", out, "--model", "scripted:prior"]) == 2
    assert "is no model in this process" in capsys.readouterr().err


def test_a_trainings_own_test_cases_are_held_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its run is of cases that a file calls test cases, whatever their split says."""
    from medgym.cases import write_cases

    cases = list(open_cases(f"{CASES}[:2]"))
    write_cases(cases[1:], tmp_path / "test.jsonl")
    run = stored(tmp_path / "run", [each for case in cases for each in group_of(case)])
    recipe = {
        "name": "mine",
        "model": {"path": "nowhere"},
        "cases": {"train": CASES, "test": str(tmp_path / "test.jsonl")},
    }
    RunFolder(run).note(recipe=recipe)
    assert main(["pairs", "build", str(run), "--out", str(tmp_path / "pairs")]) == 2
    said = capsys.readouterr().err
    assert f"the case '{cases[1].id}' is one of" in said
    assert "test.jsonl, which is held out" in said


def test_the_page_shows_pairs_side_by_side(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pairs"
    assert main(["pairs", "build", str(run), "--make", "looking", "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["pairs", "show", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told["stores"]) == ["pairs.jsonl", "trajectories"]
    assert told["stores"]["pairs.jsonl"] == 2
    text = (out / "view" / "episodes-0.js").read_text()
    shown = json.loads(text.removeprefix('loaded("pairs.jsonl", ').removesuffix(");\n"))
    for group in shown["groups"]:
        assert [episode["side"] for episode in group["episodes"]] == ["chosen", "rejected"]
        assert group["pair"]["builder"] == "looking"
        assert group["pair"]["why"].startswith("looked at the gold region")
        assert shown["cases"][group["case"]]["regions"]
    assert main(["pairs", "show", str(run)]) == 2
    assert "holds no pairs" in capsys.readouterr().err


def test_an_exported_pair_of_one_turn_is_what_trl_trains_on(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """TRL's own collator makes of it the tokens that the policy read and sampled."""
    import datasets
    from trl.trainer.dpo_trainer import DataCollatorForVisionPreference

    import medgym
    from medgym.train.models.checkpoint import load_model

    sampling = medgym.Sampling(max_tokens=4)
    rules = medgym.Rules(view_size=64, max_turns=1)
    cases = open_cases(f"{CASES}[:2]")
    run = RunFolder.create(tmp_path / "run", {"command": "rollout", "cases": CASES})
    played = list(
        medgym.collect(cases, f"hf:{tiny_folder}", rules, group_size=2, sampling=sampling, out=run)
    )
    by_case = [[t for t in played if t.case_id == case.id] for case in cases]
    pairs = [Pair(*group, "outcome", "made up") for group in by_case]
    folder = PairFolder.write(tmp_path / "pairs", pairs, run.images)
    out = tmp_path / "exported"
    assert main(["pairs", "export", str(folder.path), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["one_turn"] == 2
    rows: Any = datasets.load_dataset(
        "imagefolder", data_dir=str(out), split="train", cache_dir=str(tmp_path / "cache")
    )
    processor = load_model(tiny_folder)[1]
    batch = DataCollatorForVisionPreference(processor)([rows[0], rows[1]])
    sides = [pair.chosen for pair in folder] + [pair.rejected for pair in folder]
    for ids, mask, side in zip(batch["input_ids"], batch["attention_mask"], sides, strict=True):
        read = [i for i, kept in zip(ids.tolist(), mask.tolist(), strict=True) if kept]
        prompt = list(side.nodes[0].token_ids)
        assert read[: len(prompt)] == prompt
    assert batch["pixel_values"].shape[0] == 4 * 64


def test_images_of_later_turns_are_exported_and_counted(run: Path, tmp_path: Path) -> None:
    from medgym.train.data.preferences import build_pairs

    folder = build_pairs(run, {"looking": 1.0}, None, tmp_path / "pairs")
    told = export_pairs(folder, tmp_path / "exported")
    assert (told["pairs"], told["one_turn"], told["later_images"]) == (2, 0, 2)
    rows = [json.loads(x) for x in (tmp_path / "exported" / "metadata.jsonl").open()]
    for row in rows:
        for name in ("images_file_names", "rejected_images_file_names"):
            assert all((tmp_path / "exported" / path).is_file() for path in row[name])
        placeholders = [
            part for side in ("prompt", "chosen") for message in row[side]
            for part in message["content"] if part["type"] == "image"
        ]  # fmt: skip
        assert len(placeholders) == len(row["images_file_names"])


def test_the_cases_of_the_pairs_are_stored_with_them(run: Path, tmp_path: Path) -> None:
    from medgym.train.data.preferences import build_pairs

    folder = build_pairs(run, {"outcome": 1.0}, None, tmp_path / "pairs")
    known: dict[str, Case] = folder.cases()
    assert list(known.values()) == list(open_cases(f"{CASES}[:2]"))
