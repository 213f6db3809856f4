"""The suites that ship: what they name is there, and what is published stands apart."""

import inspect
import json
from pathlib import Path

import pytest

from medgym.case_spec import parse_spec
from medgym.cases import open_cases, write_cases
from medgym.cli import main
from medgym.errors import UserError
from medgym.registry import load, names
from medgym.sources.published import PublishedSource
from medgym.suite import PublishedFigure, Suite, load_suite

Capture = pytest.CaptureFixture[str]
SUITES = names("suites")
LEARNED_FROM = ("train", "dev")
PUBLISHED_AS_TRAIN = {"microvqa:train"}


def published_sources() -> list[str]:
    return [name for name in names("sources") if issubclass(load("sources", name), PublishedSource)]


def test_every_published_data_set_has_a_suite_of_its_name() -> None:
    assert set(published_sources()) <= set(SUITES)


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_names_sources_options_and_splits_that_exist(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert suite.source
    for benchmark, text in suite.benchmarks.items():
        spec = parse_spec(text)
        source = load("sources", spec.source)
        if issubclass(source, PublishedSource):  # others are opened, which needs no data
            options = inspect.signature(source.__init__).parameters
            assert {key for key, _ in spec.options} <= set(options) - {"self"}, benchmark
        else:
            assert len(open_cases(text)) > 0
        assert spec.split in source.splits, benchmark
        held_out = not spec.split.removesuffix("-clean").startswith(LEARNED_FROM)
        assert held_out or text in PUBLISHED_AS_TRAIN, f"{text} is there to learn from"
    assert suite.sampling.temperature == 0
    for tool in suite.tools:
        assert tool in names("tools")


@pytest.mark.parametrize("name", published_sources())
def test_a_leak_has_its_clean_split_beside_it(name: str) -> None:
    """Every split of a set that was dealt again is judged in both forms."""
    source, suite = load("sources", name), load_suite(name)
    splits = [parse_spec(spec).split for spec in suite.benchmarks.values()]
    for split in splits:
        assert f"{split}-clean" not in source.splits or f"{split}-clean" in splits


def test_the_suites_of_papers_name_the_sets_that_can_be_read() -> None:
    six = load_suite("medvistagym-6")
    assert list(six.benchmarks) == ["vqa-rad", "slake", "path-vqa", "pmc-vqa", "mmmu-med"]
    five = load_suite("mmedagent-5")
    assert list(five.benchmarks) == ["vqa-rad", "slake", "path-vqa", "omnimedvqa", "mmmu-med"]
    read = {(each.name, each.benchmark): each for each in six.published}
    assert read["MedVistaGym-R1-8B", "vqa-rad"].value == 0.7075
    assert "second-hand" in read["MedVistaGym-R1-8B", "vqa-rad"].source


def test_a_suite_without_data_names_what_fetches_it_and_plays_nothing(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDGYM_DATA", str(tmp_path))
    words = ["eval", "volumes", "--policy", "scripted:oracle", "--out", str(tmp_path / "run")]
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "has 9 benchmarks, and there is no copy of the data of deeptumorvqa, " in said.err
    gets = ("deeptumorvqa", "3dreasonknee", "medmnist")
    assert f"fix: run {' and '.join(f'medgym cases get {each}' for each in gets)}" in said.err
    assert said.err.rstrip().endswith("or play what is here: --only phantom")
    assert not (tmp_path / "run").exists()
    assert main(["eval", "medvistagym-6", "--policy", "scripted:oracle"]) == 2
    assert "--only" not in capsys.readouterr().err, "nothing is here"


SPEC = "phantom,question=kind:test[:2]"
MINE = Suite(
    "mine",
    {"a": SPEC, "b": SPEC},
    published=(
        PublishedFigure("GPT-4o", "a", 0.61, "arXiv 1"),
        PublishedFigure("GPT-4o", "b", 0.7075, "arXiv 1"),
        PublishedFigure("Other", "b", 0.5, "arXiv 2"),
    ),
)


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small suite in the place of `phantom`."""
    monkeypatch.setattr("medgym.evals.evaluating.named_suite.load_suite", lambda name: MINE)


@pytest.mark.usefixtures("mine")
def test_only_plays_the_benchmarks_that_it_names(capsys: Capture) -> None:
    words = ["eval", "phantom", "--policy", "scripted:oracle", "--only"]
    assert main([*words, "a", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["benchmarks"]) == ["a"]
    assert found["published"] == [
        {"name": "GPT-4o", "benchmark": "a", "value": 0.61, "source": "arXiv 1"}
    ]
    assert main([*words, "a,c"]) == 2
    assert "unknown benchmark of mine 'c'" in capsys.readouterr().err
    assert main(["eval", SPEC, *words[2:], "a"]) == 2
    assert "--only names benchmarks of one; fix: omit it" in capsys.readouterr().err


@pytest.mark.usefixtures("mine")
def test_published_figures_stand_below_the_table(capsys: Capture) -> None:
    assert main(["eval", "phantom", "--policy", "scripted:oracle"]) == 0
    out = capsys.readouterr().out.partition("without looking")[0]
    _, _, table = out.partition("published (%), other protocols: not comparable without re-scoring")
    assert [line.split() for line in table.splitlines()[1:]] == [
        ["name", "a", "b", "source"],
        ["GPT-4o", "61", "70.75", "[1]"],
        ["Other", "-", "50", "[2]"],
        ["[1]", "arXiv", "1"],
        ["[2]", "arXiv", "2"],
    ]


def test_open_answers_of_a_suite_have_their_own_table(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [
        case.model_copy(
            update={"answer": f"{case.answer} one", "options": (), "answer_type": "open"}
        )
        for case in open_cases(SPEC)
    ]
    write_cases(made, tmp_path / "open.jsonl")
    mine = Suite("mine", {"words": str(tmp_path / "open.jsonl"), "kinds": SPEC})
    monkeypatch.setattr("medgym.evals.evaluating.named_suite.load_suite", lambda name: mine)
    assert main(["eval", "phantom", "--policy", "scripted:oracle"]) == 0
    lines = capsys.readouterr().out.partition("without looking")[0].splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("open answers"))
    assert lines[place + 1].split()[:6] == ["words", "2", "100.0", "%", "100.0", "%"]
    assert not lines[place + 2].startswith("kinds"), "it has no open answers"
    assert max(len(line) for line in lines[place : place + 2]) <= 80


def test_volumes_are_leafed_through() -> None:
    suite = load_suite("volumes")
    assert (suite.tools, suite.max_turns) == (("slice", "window", "zoom"), 10)
    assert {each.benchmark for each in suite.published} == {"deeptumorvqa"}


@pytest.mark.parametrize("name", SUITES)
def test_the_table_of_published_figures_fits_a_terminal(name: str) -> None:
    from medgym.evals.suites.published import published_table

    headings, rows = published_table(load_suite(name).published)
    widths = [max(len(row[i]) for row in (headings, *rows)) for i in range(len(headings))]
    assert sum(widths) + 2 * (len(widths) - 1) <= 80


def test_a_figure_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match=r"70.75 of GPT-4o is no share; fix"):
        PublishedFigure("GPT-4o", "a", 70.75, "arXiv 1")
    with pytest.raises(UserError, match="benchmark of mine"):
        Suite("mine", {"a": "x:y"}, published=(PublishedFigure("GPT-4o", "b", 0.6, "arXiv 1"),))
