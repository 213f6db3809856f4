"""DeepTumorVQA 2.0: options cut out, volumes in the published window, traces, refused pools."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import medgym
from medgym.errors import UserError
from medgym.imaging.study import open_image, open_study
from medgym.scorer import grade
from medgym.sources.studies.deeptumorvqa import DeepTumorVQA, fault_of, options_of
from medgym.sources.studies.deeptumorvqa_train import suspects, train_rows
from tests.serving.hub import Hub, fetched_cases

QUESTION = "How would you classify the splenic enlargement based on volume?"
ROW: dict[str, Any] = {
    "qid": "bench_00017",
    "image_id": "BDMAP_00008446",
    "spacing": "[0.83 0.83 5.0]",
    "shape": "(6, 5, 9)",
    "sex": None,
    "age": "63.0",
    "question": QUESTION,
    "answer": "Normal (no splenomegaly)",
    "mc_question": f"{QUESTION} A: Normal (no splenomegaly) B: Moderate C: Severe, stage A: 2 "
    "D: Mild",
    "correct_option": "A",
    "organ": "spleen",
    "lesion": False,
    "question_type": "medical reasoning",
    "question_subtype": "splenomegaly grading",
    "requires_tools": ["segment_organ", "measure"],
}


def _row(**changes: Any) -> dict[str, Any]:
    return {**ROW, **changes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "deeptumorvqa"
    rows = [
        ROW,
        _row(qid="bench_2", correct_option="E"),
        _row(qid="bench_3", mc_question=QUESTION),
        _row(qid="bench_4", correct_option="B"),
        _row(qid="bench_5", answer="212.4", correct_option="D"),
    ]
    _benchmark(made, rows)
    return made


def _benchmark(folder: Path, rows: list[dict[str, Any]], said: int | None = None) -> None:
    (folder / "benchmark").mkdir(parents=True, exist_ok=True)
    held = {
        "version": "2.0",
        "num_questions": len(rows) if said is None else said,
        "question_types": [],
        "questions": rows,
    }
    (folder / "benchmark/test_qa.json").write_text(json.dumps(held), encoding="utf-8")


def _cases(folder: Path, split: str, options: str = "counts=any") -> medgym.CaseList:
    return medgym.open_cases(f"deeptumorvqa,{options},data={folder}:{split}")


def test_options_are_cut_out_of_the_question(folder: Path) -> None:
    cases = _cases(folder, "benchmark")
    case = cases[0]
    assert case.question == QUESTION
    assert case.options == ("Normal (no splenomegaly)", "Moderate", "Severe, stage A: 2", "Mild")
    assert case.answer == case.options[0]
    assert (case.id, case.group) == ("deeptumorvqa/benchmark/bench_00017", "BDMAP_00008446")
    assert grade(case, "A").right
    assert not grade(case, "B").right
    assert cases[1].answer == "Mild"  # a number as the free answer contradicts no option


def test_what_is_not_known_and_what_gives_away_is_left_out(folder: Path) -> None:
    case = _cases(folder, "benchmark")[0]
    assert case.context == "Age: 63.0. Voxels: 0.83 x 0.83 x 5 mm. Volume: 6 x 5 x 9 voxels."
    assert "segment_organ" not in case.model_dump_json()


def test_rows_that_cannot_be_scored_are_counted(folder: Path) -> None:
    assert list(_cases(folder, "benchmark").dropped) == [
        ("row 1 of test_qa.json", "the correct option 'E' is none of ABCD"),
        ("row 2 of test_qa.json", "mc_question has no options 'A: ... B: ...'"),
        (
            "row 3 of test_qa.json",
            "the correct option is B ('Moderate'), and the answer 'Normal (no splenomegaly)'",
        ),
    ]


def test_options_on_lines_of_their_own() -> None:
    assert options_of(_row(mc_question="Is it?\nA: Yes\nB: No", question="Is it?")) == ("Yes", "No")
    assert options_of(_row(mc_question="Is it? A: B: No", question="Is it?")) is None


def test_a_volume_starts_in_the_middle_in_the_published_window(folder: Path) -> None:
    import nibabel

    values = np.arange(6 * 5 * 9, dtype=np.int16).reshape(6, 5, 9) - 150
    path = folder / "benchmark/ct/BDMAP_00008446/ct.nii.gz"
    path.parent.mkdir(parents=True)
    nibabel.Nifti1Image(values, np.diag([-0.83, -0.83, 5.0, 1.0])).to_filename(path)
    (image,) = _cases(folder, "benchmark")[0].images
    assert (image.plane, image.index) == ("axial", 4)
    study = open_image(image)
    assert study.window is not None
    assert (study.window.centre, study.window.width) == (50, 400)
    assert (study.modality, study.unit) == ("CT", "HU")
    assert np.array_equal(study.pixels, values[:, :, 4].T)
    assert open_study(image).planes["axial"].spacing_mm == pytest.approx((0.83, 0.83))


def test_pictures_and_clips(folder: Path) -> None:
    path = folder / "benchmark/images_2d/whole/BDMAP_00008446.png"
    path.parent.mkdir(parents=True)
    Image.new("L", (4, 3), 9).save(path)
    (image,) = _cases(folder, "benchmark", "images=png,counts=any")[0].images
    assert open_image(image).pixels[0, 0] == 9
    (clip,) = _cases(folder, "benchmark", "images=mp4,counts=any")[0].images
    assert clip.uri.endswith("/benchmark/videos/whole/BDMAP_00008446.mp4")
    assert (clip.plane, clip.index) == ("frame", 0)


def test_a_volume_that_is_not_there_says_where_it_is(folder: Path) -> None:
    with pytest.raises(UserError, match=r"no such CT: .*AbdomenAtlas3.0Mini.*images=png"):
        open_image(_cases(folder, "benchmark")[0].images[0])


def test_training_rows_stay_text(folder: Path) -> None:
    path = folder / "train/train_qa.csv"
    path.parent.mkdir()
    kept = [key for key in ROW if key != "qid"]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, kept, extrasaction="ignore")
        writer.writeheader()
        writer.writerow(_row(answer="None", mc_question=f'{QUESTION}\nA: None\nB: "NA"'))
        writer.writerow(_row(image_id="../x"))
        writer.writerow(_row(image_id="007", sex=""))
    cases = _cases(folder, "train")
    first, last = cases
    assert (first.options, first.answer) == (("None", '"NA"'), "None")
    assert (first.id, last.id) == ("deeptumorvqa/train/000000", "deeptumorvqa/train/000002")
    assert last.group == "007"
    assert [why for _, why in cases.dropped] == ["the image_id '../x' is no name of a CT"]
    with pytest.raises(UserError, match=r"3 rows \(expected 428,050\); 3 images \(expected 8,334"):
        len(_cases(folder, "train", "counts=published"))


def test_the_pool_of_the_benchmark_is_refused(folder: Path) -> None:
    for split in ("val", "val_qa_pool", "validation"):
        with pytest.raises(UserError, match=r"the benchmark was drawn from val_qa_pool.csv"):
            len(_cases(folder, split))
    with pytest.raises(UserError, match="unknown split of deeptumorvqa"):
        len(_cases(folder, "benchmrk"))


def test_traces_are_read_and_not_played(folder: Path) -> None:
    with pytest.raises(UserError, match=r"recorded uses of tools.*traces\('train'\)"):
        len(_cases(folder, "agent-sft"))
    turns = [
        ("human", "Which stage?"),
        ("gpt", "I segment first."),
        ("function_call", '{"name": "segment_organ", "arguments": {"target": "liver"}}'),
        ("observation", '{"volume": 12.5}'),
        ("gpt", "B"),
    ]
    path = folder / "agent_sft/train.jsonl"
    path.parent.mkdir()
    line = json.dumps({"conversations": [{"from": a, "value": b} for a, b in turns], "tools": "[]"})
    path.write_text(line + "\n" + line[:-9], encoding="utf-8")
    traces = DeepTumorVQA(data=str(folder)).traces("train")
    trace = next(traces)
    assert (trace.question, trace.answer) == ("Which stage?", "B")
    (call,) = trace.calls
    assert (call.name, call.arguments) == ("segment_organ", {"target": "liver"})
    assert (call.thought, call.result) == ("I segment first.", '{"volume": 12.5}')
    with pytest.raises(UserError, match=r"line 2 of .*train.jsonl is no JSON object"):
        next(traces)


def test_counts_and_halves(folder: Path) -> None:
    said = r"5 rows \(expected 10,000\); 1 images \(expected 991\); 0 measurement rows"
    with pytest.raises(UserError, match=said):
        len(_cases(folder, "benchmark", "counts=published"))
    _benchmark(folder, [ROW], 10_000)
    with pytest.raises(UserError, match="says that it has 10000 questions, and has 1; fix"):
        len(_cases(folder, "benchmark"))


def test_types_are_counted_however_they_are_written(folder: Path) -> None:
    _benchmark(folder, [_row(question_type=each) for each in ("visual_reasoning", "Recognition")])
    source = DeepTumorVQA(data=str(folder), counts="any")
    found = source.found_counts("benchmark", source.load("benchmark"))
    assert found.types == {"visual reasoning": 1, "recognition": 1}


def test_odd_rows_of_the_benchmark(folder: Path) -> None:
    _benchmark(folder, [_row(shape="(512, 512, 9e999)", spacing="[nan 1e999 5.0]")])
    assert _cases(folder, "benchmark")[0].context == "Age: 63.0."
    _benchmark(folder, [_row(qid=None)])
    with pytest.raises(UserError, match=r"row 0 of .*test_qa.json has a blank 'qid'"):
        _cases(folder, "benchmark")


def test_the_flat_copy_reads_the_same(folder: Path) -> None:
    before = _cases(folder, "benchmark")[0]
    (folder / "benchmark/test_qa.json").unlink()
    (folder / "benchmark/test_qa.jsonl").write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    assert _cases(folder, "benchmark")[0] == before


def test_through_the_hub(hub: Hub, folder: Path, tmp_path: Path) -> None:
    path = folder / "benchmark/images_2d/whole/BDMAP_00008446.png"
    path.parent.mkdir(parents=True)
    Image.new("L", (4, 3), 9).save(path)
    pictures = ("benchmark/images_2d/whole/*.png",)
    cases = fetched_cases(
        hub, "deeptumorvqa", folder, "benchmark", tmp_path / "data", "images=png", files=pictures
    )
    assert open_image(cases[0].images[0]).pixels[0, 0] == 9


def test_only_suspect_rows_are_looked_at_one_by_one(tmp_path: Path) -> None:
    rows = [
        _row(),
        _row(correct_option="B"),
        _row(answer="212.4"),
        _row(question=" "),
        _row(image_id="a/b"),
        _row(mc_question="Is it? A: Yes B: No", question="Is it?", answer="No", correct_option="B"),
        _row(mc_question=QUESTION),
        _row(answer="", correct_option=""),
        _row(mc_question=f"{QUESTION} A:  B: Mild C: No", answer="No", correct_option="C"),
    ]
    path = tmp_path / "train_qa.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ROW)
        writer.writeheader()
        writer.writerows(rows)
    read = train_rows(path, ("image_id",))
    looked_at = set(suspects(read.table))
    assert looked_at == {1, 2, 3, 4, 6, 7, 8}
    assert all(fault_of(row) is None for at, row in enumerate(read) if at not in looked_at)


def test_clean_splits_share_no_volume(folder: Path) -> None:
    _benchmark(folder, [_row(qid=f"b{at}", image_id=f"CT{at}") for at in range(4)])
    path = folder / "train/train_qa.csv"
    path.parent.mkdir()
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ROW)
        writer.writeheader()
        writer.writerows(_row(qid=f"t{at}", image_id=f"CT{at}") for at in range(2, 8))
    groups = [
        {case.group for case in _cases(folder, f"{split}-clean")}
        for split in ("benchmark", "train")
    ]
    assert not groups[0] & groups[1]
    assert groups[0] | groups[1] == {f"CT{at}" for at in range(8)}
