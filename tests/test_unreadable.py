"""One image that cannot be read costs its case alone: it is counted, named and never rewarded."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from medgym.cases import Case, write_cases
from medgym.cli import main
from medgym.env import MedEnv
from medgym.errors import RunError, UserError
from medgym.failures import unreadable_of
from medgym.imaging.study import ImageRef
from medgym.policy import load_policy
from medgym.rollout import collect
from medgym.storage.results import read_results
from medgym.storage.run_folder import RunFolder

Capture = pytest.CaptureFixture[str]
LOST = {
    "missing": "no such image",
    "damaged": "not a readable PNG",
    "empty-dicom": "without pixels",
}


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    """Four cases that can be read, among three that cannot."""
    Image.new("L", (8, 8), 90).save(tmp_path / "good.png")
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "damaged.png").write_bytes(whole[:40])
    bare = Dataset()
    bare.SOPClassUID, bare.SOPInstanceUID, bare.Modality = "1.2.840.10008.5.1.4.1.1.2", "1.2", "CT"
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    bare.save_as(tmp_path / "empty.dcm", enforce_file_format=True)
    files = {
        "a": "good.png", "missing": "nowhere.png", "b": "good.png", "damaged": "damaged.png",
        "c": "good.png", "empty-dicom": "empty.dcm", "d": "good.png",
    }  # fmt: skip
    return [
        Case(
            id=f"own/test/{name}",
            images=(ImageRef(uri=f"file:{tmp_path / file}"),),
            question="?",
            options=("x", "y"),
            answer="x",
            answer_type="choice",
            group=name,
            source="own",
            split="test",
        )
        for name, file in files.items()
    ]


def lost(reasons: dict[str, Any]) -> bool:
    """Whether these are the unreadable cases, each with its reason, and no file is named."""
    assert "/" not in "".join(map(str, reasons.values()))
    found = {name.rpartition("/")[2]: str(why) for name, why in reasons.items()}
    return found.keys() == LOST.keys() and all(LOST[name] in found[name] for name in found)


def interrupted(folder: Path) -> None:
    """Have a run that is done look like one that was killed before it said so."""
    RunFolder.open(folder).note(status="running")


def test_a_collection_goes_on_without_the_unreadable_cases(
    cases: list[Case], tmp_path: Path
) -> None:
    for attempt in range(2):
        played = list(
            collect(
                cases, load_policy("scripted:prior"), group_size=2, ordered=True,
                out=tmp_path / "run",
            )
        )  # fmt: skip
        gone = [t for t in played if t.failure is not None]
        assert lost({t.case_id: unreadable_of(t.failure) for t in gone})
        assert (len(gone), len(played)) == (6, 14 if attempt == 0 else 6), "these are tried again"
        assert {t.reward for t in gone} == {None}
        manifest = RunFolder.open(tmp_path / "run").manifest
        assert (manifest["status"], manifest["failed"]) == ("done", {})
        assert (manifest["unreadable"]["count"], manifest["unreadable"]["of"]) == (3, 7)
        assert lost({row["case"]: row["why"] for row in manifest["unreadable"]["first"]})
        assert manifest["counts"] == {"trajectories": 8}
        interrupted(tmp_path / "run")


def test_a_run_of_mostly_unreadable_cases_stops(cases: list[Case]) -> None:
    few = [case for case in cases if case.group in LOST or case.group in "ab"]
    stream = collect(few, load_policy("scripted:prior"))
    said = (
        r"^the images of 3 of 5 cases cannot be read, the first of own/test/\S+ \([^\n;]*\); fix: "
    )
    with pytest.raises(RunError, match=said):
        list(stream)


def test_an_evaluation_has_figures_of_all_and_of_readable_cases(
    cases: list[Case], tmp_path: Path, capsys: Capture
) -> None:
    write_cases(cases, tmp_path / "c.jsonl")
    words = ["eval", str(tmp_path / "c.jsonl"), "--policy", "scripted:oracle"]
    words += ["--out", str(tmp_path / "run")]
    tables = []
    for _ in range(2):  # an interrupted one reads what it has stored, and counts nothing twice
        assert main(words) == 0
        interrupted(tmp_path / "run")
        tables.append(capsys.readouterr().out)
        found = read_results(tmp_path / "run")["policies"]["scripted:oracle"]["greedy"]
        assert (found["accuracy"]["value"], found["accuracy"]["n"]) == (1.0, 4)
        unreadable, of_all = found["unreadable"], found["accuracy_of_all"]
        assert (unreadable["count"], unreadable["of"]) == (3, 7)
        assert lost({row["case"]: row["why"] for row in unreadable["first"]})
        assert (of_all["value"], of_all["n"]) == (4 / 7, 7)
    assert tables[0] == tables[1]
    lines = [re.sub(" +", " ", line) for line in tables[0].splitlines()]
    for begins in (
        "left out: unreadable 3 of 7",
        " own/test/missing no such image: image 0",
        " of all cases 57.1 % (95 % interval ",
    ):
        assert any(line.startswith(begins) for line in lines)


def test_a_wrong_folder_of_images_is_no_accuracy_of_0(
    cases: list[Case], tmp_path: Path, capsys: Capture
) -> None:
    write_cases([case for case in cases if case.group in LOST], tmp_path / "c.jsonl")
    assert main(["eval", str(tmp_path / "c.jsonl"), "--policy", "scripted:prior"]) == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert "the images of 2 of 3 cases cannot be read" in shown.err


@pytest.mark.usefixtures("no_progress")
def test_a_rollout_names_them(cases: list[Case], tmp_path: Path, capsys: Capture) -> None:
    write_cases(cases, tmp_path / "c.jsonl")
    words = ["rollout", str(tmp_path / "c.jsonl"), "--policy", "scripted:oracle"]
    assert main([*words, "--out", str(tmp_path / "run"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["trajectories"], told["correct"]) == (4, 1.0)
    assert (told["unreadable"]["count"], told["unreadable"]["of"]) == (3, 7)
    interrupted(tmp_path / "run")
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    table = capsys.readouterr().out
    assert "  of all cases" in table
    assert "57.1 %" in table
    assert "own/test/damaged" in table


def test_an_environment_names_the_case(cases: list[Case]) -> None:
    env = MedEnv(cases, tools=())
    said = "an image of the case 'own/test/missing' cannot be read: no such image: .*nowhere.png"
    with pytest.raises(UserError, match=said):
        env.reset(options={"case": "own/test/missing"})
    assert env.reset(options={"case": "own/test/a"})[1]["case"] == "own/test/a"


def test_repeats_count_an_unreadable_case_once(cases: list[Case], tmp_path: Path) -> None:
    write_cases(cases, tmp_path / "c.jsonl")
    words = ["eval", str(tmp_path / "c.jsonl"), "--policy", "scripted:prior", "--repeats", "3"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    policies = read_results(tmp_path / "run")["policies"]
    unreadable = policies["scripted:prior"]["sampled"]["unreadable"]
    assert (unreadable["count"], unreadable["of"]) == (3, 7)
    lost = [case for case in cases if case.id.rpartition("/")[2] in LOST]
    write_cases(lost, tmp_path / "lost.jsonl")
    assert main(["eval", str(tmp_path / "lost.jsonl"), *words[2:]]) == 1
