"""What is learned from and judged by is refused, or said with the results."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

from medgym import registry
from medgym.case_notes import notes_of
from medgym.cases import Case, open_cases, write_cases
from medgym.cli import main
from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from medgym.source import Source
from medgym.sources.phantom import source as phantoms
from medgym.sources.rows import RowCases
from medgym.sources.vqa.vqa_rad import CARD
from medgym.train.consultation import report as consult_report
from medgym.train.recipe.judge import JudgeTable
from medgym.train.recipe.schema import parse_recipe
from medgym.train.run.judging import write_figures, write_results
from medgym.train.run.opened import Run
from medgym.train.run.report import print_overlap
from medgym.train.run.stages import check
from tests.sources.vqa.conftest import write_parquet

SPEC = "phantom,look=radiograph,question=kind"
CASE = open_cases(f"{SPEC}:train[:1]")[0]


def run_of(
    tmp_path: Path, train: str, test: str, shown: str = "", judge: str = "", **cases: str
) -> Run:
    data: dict[str, Any] = {
        "name": "mine",
        "model": {"build": "tiny"},
        "cases": {"train": train, "test": test} | cases,
        "rollout": {"view_size": 64},
        "grpo": {"max_steps": 1, "report_to": ["none"]},
    }
    if judge:
        data["judge"] = {"every": 1, "cases": judge}
    if shown:
        data["demonstrations"] = {"policy": "scripted:oracle", "cases": shown}
        data["sft"] = {"max_steps": 1}
    return Run(parse_recipe(data, "mine.toml"), tmp_path / "run")


@pytest.mark.parametrize(
    ("train", "test", "shown", "said"),
    [
        (
            f"{SPEC}:train[:16]", f"{SPEC}:train[12:20]", "",
            "[cases] test shares 4 of its 8 cases with [cases] train (the first is "
            "phantom/train/radiograph-512-kind-",
        ),
        (  # the other question about the same phantoms
            f"{SPEC}:train[:16]", "phantom,look=radiograph,question=presence:train[20:30]", "",
            "5 of the 10 cases of [cases] test share a group, such as a patient, with [cases] tr",
        ),
        (
            f"{SPEC}:train[:16]", f"{SPEC}:test[:4]", f"{SPEC}:test[3:9]",
            "[cases] test shares 1 of its 4 cases with [demonstrations] (the first is ",
        ),
    ],
)  # fmt: skip
def test_what_is_learned_from_and_judged_by_is_refused(
    train: str, test: str, shown: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        check(run_of(tmp_path, train, test, shown))
    assert said in str(error.value)
    said = "; fix: choose other cases (of a published set those of a split called -clean), "
    assert f'{said}or set [cases] overlap = "allowed"' in str(error.value)
    assert "\n" not in str(error.value)
    check(run_of(tmp_path, train, test, shown, overlap="allowed"))


def test_the_command_refuses_it_before_the_folder_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cases(open_cases(f"{SPEC}:test[2:6]"), tmp_path / "mine.jsonl")
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        f'[model]\nbuild = "tiny"\n[cases]\ntrain = "{tmp_path / "mine.jsonl"}"\n'
        f'test = "{SPEC}:test[:4]"\n[grpo]\nmax_steps = 1\n[rollout]\nview_size = 64\n'
    )
    assert main(["train", str(recipe), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "[cases] test shares 2 of its 4 cases with [cases] train" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_what_a_policy_is_chosen_by_is_neither_trained_on_nor_the_test(tmp_path: Path) -> None:
    for spec, said in (
        (f"{SPEC}:train[12:20]", r"\[judge\] cases shares 4 of its 8 cases with \[cases\] train"),
        (f"{SPEC}:test[2:8]", r"\[cases\] test shares 2 of its 4 cases with \[judge\] cases"),
    ):
        run = run_of(tmp_path, f"{SPEC}:train[:16]", f"{SPEC}:test[:4]", judge=spec)
        with pytest.raises(UserError, match=said):
            check(run)


def test_demonstrations_may_be_cases_of_training(tmp_path: Path) -> None:
    check(run_of(tmp_path, f"{SPEC}:train[:16]", f"{SPEC}:test[:4]", f"{SPEC}:train[:8]"))


@pytest.mark.parametrize(
    ("judged", "said"),
    [
        (f"{SPEC}:train[12:20]", r"\[judge\] cases shares 4 of its 8 cases with \[cases\] train"),
        (f"{SPEC}:test[3:9]", r"\[cases\] test shares 1 of its 4 cases with \[judge\] cases"),
        (f"{SPEC}:validation[:4]", None),
    ],
)
def test_a_policy_is_not_chosen_by_the_cases_of_its_training_or_its_test(
    judged: str, said: str | None, tmp_path: Path
) -> None:
    run = run_of(tmp_path, f"{SPEC}:train[:16]", f"{SPEC}:test[:4]")
    judge = JudgeTable(every=1, cases=judged)
    run = Run(run.recipe.model_copy(update={"judge": judge}), run.folder)
    if said is None:
        check(run)
    else:
        with pytest.raises(UserError, match=said):
            check(run)


def stored(folder: Path, name: str, shade: int, size: int = 400) -> Case:
    """A case of its own id and group, about an image of its own."""
    path = folder / f"{name}.png"
    Image.new("L", (600, size), shade).save(path)
    image = ImageRef(uri=f"file:{path}")
    changes = {"id": f"mine/all/{name}", "group": name, "source": "mine", "images": (image,)}
    return CASE.model_copy(update=changes | {"regions": ()})


def test_stored_cases_are_the_same_by_the_content_of_their_images(tmp_path: Path) -> None:
    one, other = stored(tmp_path, "one", 90), stored(tmp_path, "other", 90)
    third, fourth = stored(tmp_path, "third", 91), stored(tmp_path, "fourth", 90)
    fourth = fourth.model_copy(update={"question": "Another one?"})
    assert Path(one.images[0].uri[5:]).read_bytes() == Path(other.images[0].uri[5:]).read_bytes()
    write_cases([one], tmp_path / "train.jsonl")
    write_cases([third, other, fourth], tmp_path / "test.jsonl")
    run = run_of(tmp_path, str(tmp_path / "train.jsonl"), str(tmp_path / "test.jsonl"))
    (found,) = run.overlaps
    assert (found.cases, found.groups, found.first) == (1, 0, "mine/all/other")


def test_two_images_of_one_file_are_two(tmp_path: Path) -> None:
    one, other = stored(tmp_path, "one", 90), stored(tmp_path, "other", 91)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name in ("one.png", "other.png"):
            archive.write(tmp_path / name, name)
    for case, split in ((one, "train"), (other, "test")):
        image = ImageRef(uri=f"file:{tmp_path}/images.zip", member=f"{case.group}.png")
        write_cases([case.model_copy(update={"images": (image,)})], tmp_path / f"{split}.jsonl")
    run = run_of(tmp_path, str(tmp_path / "train.jsonl"), str(tmp_path / "test.jsonl"))
    assert run.overlaps == ()


def test_a_file_of_cases_may_have_brackets_in_its_name(tmp_path: Path) -> None:
    file = str(tmp_path / "mine [1].jsonl")
    write_cases([CASE], file)
    with pytest.raises(UserError, match=r"shares 1 of its 1 cases with"):
        check(run_of(tmp_path, file, f"{file}[:1]"))


def test_an_empty_group_is_nobodys(tmp_path: Path) -> None:
    cases = [
        stored(tmp_path, name, shade).model_copy(update={"group": ""})
        for name, shade in (("one", 90), ("other", 91))
    ]
    write_cases(cases[:1], tmp_path / "train.jsonl")
    write_cases(cases[1:], tmp_path / "test.jsonl")
    run = run_of(tmp_path, str(tmp_path / "train.jsonl"), str(tmp_path / "test.jsonl"))
    assert run.overlaps == ()


def test_no_case_is_made_of_sources_and_splits_that_cannot_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    case_of = phantoms.case_of

    def counted(plan: Any, question: str) -> Case:
        made.append(plan)
        return case_of(plan, question)

    monkeypatch.setattr(phantoms, "case_of", counted)
    assert run_of(tmp_path, "phantom:train", "phantom:test").overlaps == ()
    assert not made
    # And of those that can, ids and groups are known without the case.
    run = run_of(tmp_path, f"{SPEC}:train[:20000]", f"{SPEC}:train[20000:20200]")
    assert run.overlaps == ()
    assert not made
    assert run_of(tmp_path, f"{SPEC}:train[:20000]", f"{SPEC}:train[19999:20200]").overlaps
    assert not made


class Shared(Source):
    """Its two splits share a patient; only what `declared` says is declared."""

    name: ClassVar[str] = "shared"
    splits = ("train", "test")
    declared: ClassVar[tuple[str, ...]] = ()

    def cases(self, split: str) -> Sequence[Case]:
        made = [
            CASE.model_copy(
                update={"id": f"shared/{split}/{n}", "group": group, "source": "shared"}
            )
            for n, group in enumerate(("anna", split))
        ]
        return RowCases([*made, None], lambda row: row or CASE, str, faults)

    def leaks(self, split: str) -> tuple[str, ...]:
        return self.declared

    def notes(self, split: str) -> tuple[str, ...]:
        return (*self.declared, f"the copy of {split} is old")


def faults(row: Case | None) -> str | None:
    return "the answer is blank" if row is None else None


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    load = registry.load
    monkeypatch.setattr(
        registry, "load", lambda *of: Shared if of == ("sources", "shared") else load(*of)
    )
    monkeypatch.setattr("medgym.train.run.overlap.load", registry.load)


@pytest.mark.usefixtures("shared")
def test_a_leak_of_published_splits_is_refused_unless_its_source_declares_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "1 of the 2 cases of [cases] test share a group, such as a patient, with [cases] train"
    with pytest.raises(UserError) as error:
        check(run_of(tmp_path, "shared:train", "shared:test"))
    assert said in str(error.value)
    leak = "anna is in both splits, as published"
    monkeypatch.setattr(Shared, "declared", (leak,))
    run = run_of(tmp_path, "shared:train", "shared:test")
    check(run)
    run.folder.mkdir()
    write_figures({}, run.place)
    results = write_results(run)
    (each,) = results["overlap"]
    assert (each["groups"], each["cases"], each["declared"]) == (1, 0, (leak,))
    assert [(note["cases"], note["note"]) for note in results["notes"]] == [
        ("shared:train", leak), ("shared:train", "the copy of train is old"),
        ("shared:test", leak), ("shared:test", "the copy of test is old"),
    ]  # fmt: skip
    first = [{"place": "2", "why": "the answer is blank"}]
    assert results["dropped"] == [
        {"cases": f"shared:{split}", "rows": 1, "first": first} for split in ("train", "test")
    ]
    print_overlap(results)
    shown = capsys.readouterr().out
    assert f"beware: {said} (the first is shared/test/0) (declared: {leak})" in shown
    assert "note on shared:test: 1 row makes no case, such as 2 (the answer is blank)" in shown
    # The same cases are refused, whatever is declared, and so are two parts of one split.
    for train, test in (("shared:test", "shared:test"), ("shared:train[:1]", "shared:train[0:2]")):
        with pytest.raises(UserError, match="; fix: choose other cases"):
            check(run_of(tmp_path, train, test))


def test_a_published_set_and_a_table_are_mixed_and_the_leak_is_carried(tmp_path: Path) -> None:
    row = {"image": 10, "question": "Is there air?", "answer": "yes"}
    files = [tmp_path / "vqa-rad" / file.path for file in CARD.files if "data/" in file.path]
    by_split = {split: next(f for f in files if split in f.name) for split in ("train", "test")}
    write_parquet(by_split["train"], [row | {"image": shade} for shade in (10, 20, 30, 40)])
    write_parquet(by_split["test"], [row, row | {"image": 90}])
    Image.new("L", (8, 8), 90).save(tmp_path / "a.png")
    lines = [f"a.png,Is it {n}?,yes,p{n},train" for n in range(4)]
    (tmp_path / "mine.csv").write_text(
        "\n".join(["image,question,answer,patient,split", *lines, "a.png,Is it 9?,,p9,train"])
    )
    published = f"vqa-rad,data={tmp_path},counts=any"
    mixture: Any = [
        {"spec": f"{published}:train", "weight": 3},
        {"spec": f"table,path={tmp_path / 'mine.csv'}:train", "name": "mine"},
    ]
    run = run_of(tmp_path, mixture, f"{published}:test")
    check(run)
    dealt = [run.train.source_of(case) for case in run.ordered]  # type: ignore[attr-defined]
    assert dealt.count("vqa-rad") == 4
    assert dealt.count("mine") in (1, 2)
    (each,) = run.overlaps
    assert (each.cases, each.groups) == (0, 1)
    assert each.declared == CARD.leaks
    said = notes_of(run.named_cases)
    leaks = [note["cases"] for note in said["notes"] if note["note"] in CARD.leaks]
    assert leaks == [f"{published}:train", f"{published}:test"]
    (dropped,) = said["dropped"]
    assert (dropped["cases"], dropped["rows"]) == (mixture[1]["spec"], 1)


def test_what_is_allowed_is_said_with_the_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(tmp_path, f"{SPEC}:test[:2]", f"{SPEC}:test[:2]", overlap="allowed")
    run.folder.mkdir()
    write_figures({}, run.place)
    results = write_results(run)
    (each,) = json.loads(run.place.results.read_text())["overlap"]
    assert (each["of"], each["cases"], each["groups"]) == (2, 2, 0)
    print_overlap(results)
    said = capsys.readouterr().out
    assert said.startswith("beware: [cases] test shares 2 of its 2 cases with [cases] train (the")
    assert consult_report.print_overlap is print_overlap
    assert "overlap" not in write_results(run_of(tmp_path, f"{SPEC}:train", f"{SPEC}:test[:2]"))
