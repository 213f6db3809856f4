"""The page of a run: what is on it, that texts cannot act on it, and that a browser draws it."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import plotly.graph_objects
import pytest
from PIL import Image

from medgym.cases import Case, write_cases
from medgym.cli import main
from medgym.episode import Rules
from medgym.evals.outcomes.outcome import CaseOutcome
from medgym.evals.outcomes.stored import outcomes_of
from medgym.evals.outcomes.table import write_outcomes
from medgym.evals.reports import charts, failures
from medgym.evals.reports.further import measurements, of_the_cases, tables_of
from medgym.evals.reports.made import command
from medgym.evals.reports.page import sections, write_report
from medgym.evals.reports.run import ReportedRun
from medgym.imaging.study import ImageRef
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling
from medgym.rollout import collect
from medgym.storage.json_files import read_json
from medgym.storage.run_folder import RunFolder
from medgym.tool import load_tools

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
Capture = pytest.CaptureFixture[str]
HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>"


class Says(Policy):
    """Looks once, then says the same in every episode."""

    spec = "says"

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        if len(conversation) == 2:
            return Reply(render_call("zoom", {"view": 0, "box": [0, 0, 250, 250]}))
        return Reply(render_answer(HOSTILE))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evaluations of phantoms by two policies, and of a user's own cases with hostile texts."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("prior", "oracle"):
        cases = "phantom,question=kind:test[:12]"
        assert main(
            ["eval", cases, "--policy", f"scripted:{name}", "--out", str(folder / name)]
        ) == 0  # fmt: skip
    return folder


def hostile(folder: Path) -> RunFolder:
    """A run whose questions, options, golds and answers are markup."""
    picture = folder / "a.png"
    Image.fromarray(np.full((600, 900), 120, np.uint8)).save(picture)
    images = (ImageRef(uri=f"file:{picture}"),) * 5
    cases = [
        Case(
            id=f"own/test/<script>{number}", images=images,
            question=f"What is it? {HOSTILE}" * 100, options=(HOSTILE, "b"), answer="b",
            answer_type="choice", group=str(number), source="own", split="test",
            modality=HOSTILE if number % 2 else "CT",
        )
        for number in range(12)
    ]  # fmt: skip
    write_cases(cases, folder / "cases.jsonl")
    run = RunFolder.create(
        folder / "run", {"command": "eval", "policy": HOSTILE, "cases": str(folder / "cases.jsonl")}
    )
    for _ in collect(cases, Says(), Rules(tools=load_tools(["zoom"]), view_size=64), out=run):
        pass
    run.finish()
    return run


class Tags(HTMLParser):
    """The tags of a page with their attributes, and the cells of its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th", "caption"):
            self.cells.append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag not in ("td", "th", "caption")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells[-1] += data


def test_a_page_has_the_figures_of_its_run_and_needs_no_network(runs: Path) -> None:
    page = write_report([str(runs / "prior")])
    assert page == runs / "prior" / "report.html"
    text = page.read_text("utf-8")
    (judged,) = read_json(runs / "prior" / "results.json")["policies"]["scripted:prior"].values()
    cells = Tags(text).cells
    assert f"{100 * judged['accuracy']['value']:.1f} %" in cells
    for said in ("By modality", "CT *", "CHEST *", "wrong, never looked", "unparsed", "choice 4"):
        assert said in cells, said
    assert "medgym eval 'phantom,question=kind:test[:12]' --policy scripted:prior" in text.replace(
        "&#39;", "'"
    )
    for _, given in Tags(text).tags:
        for name in ("src", "href", "srcset", "data", "action"):
            assert not re.match(r"\w+://|//", given.get(name) or ""), given


def test_charts_are_what_plotly_takes(runs: Path) -> None:
    text = write_report([str(runs / "prior"), str(runs / "oracle")]).read_text("utf-8")
    found = re.search(r"const CHARTS = (\[.*\]);\n", text)
    assert found is not None
    charts = json.loads(found[1])
    assert len(charts) >= 5
    for chart in charts:
        plotly.graph_objects.Figure(**chart)  # which refuses what it does not know


def test_runs_side_by_side_have_paired_differences(runs: Path) -> None:
    page = write_report([str(runs / "prior"), str(runs / "oracle")])
    assert page.name == "comparison.html"
    cells = Tags(page.read_text("utf-8")).cells
    assert "win" in cells
    assert "only this right" in cells
    assert {"prior", "oracle"} <= set(cells)


def test_texts_of_cases_and_policies_cannot_act(tmp_path: Path) -> None:
    run = hostile(tmp_path)
    text = write_report([str(run.path)]).read_text("utf-8")
    tags = Tags(text).tags
    assert sum(tag == "script" for tag, _ in tags) == 2
    pictures = [given["src"] or "" for tag, given in tags if tag == "img"]
    assert 0 < len(pictures) <= failures.SHOWN * (failures.PICTURES + 1)
    assert all(each.startswith("data:image/jpeg;base64,") for each in pictures)
    assert all("onerror" not in given for _, given in tags)
    assert HOSTILE not in text
    assert html.escape(HOSTILE)[:30] in text.replace("&#34;", "&quot;")
    assert len(text) < 5_500_000


def test_changed_cases_and_the_same_ones_again_are_not_pooled(tmp_path: Path) -> None:
    run = hostile(tmp_path)
    played = outcomes_of(str(run.path))
    arms = {"on": played, "off": played, "blur-1": [
        replace(each, case=f"{each.case}~blur-1") for each in played
    ]}  # fmt: skip
    write_outcomes(
        run.path, [replace(o, benchmark=name) for name, each in arms.items() for o in each]
    )
    results = {"format": 1, "benchmarks": {name: {} for name in arms}, "robustness": {"drop": 0.5}}
    run.write_json("results.json", results)
    opened = ReportedRun.open(str(run.path))
    (robustness,) = next(measurements([opened])).tables
    assert list(robustness.rows) == [("drop", "0.5")]
    assert list(opened.benchmarks) == ["on"]
    assert len(opened.outcomes) == len(played)
    assert "2 of its benchmarks play cases again" in opened.without


def test_what_to_know_of_the_cases_is_said_of_a_training_too(tmp_path: Path) -> None:
    run = hostile(tmp_path)
    shared = {"held_out": "[cases] test", "learned": "[cases] train", "of": 200, "cases": 3,
              "groups": 9, "first": "a/1", "declared": ["As published."]}  # fmt: skip
    first = {"place": "row 5", "why": "no gold"}
    results = {
        "format": 1, "command": "train", "policies": {}, "overlap": [shared],
        "notes": [{"cases": "a:test", "note": "Read from another copy."}],
        "dropped": [{"cases": "a:test", "rows": 2, "first": [first]}],
        "unreadable": {"count": 2, "of": 9, "first": [{"case": "a/2", "why": "no such file"}]},
    }  # fmt: skip
    run.write_json("results.json", results)
    said = of_the_cases([ReportedRun.open(str(run.path))]).paragraphs
    assert list(said) == [
        "note on a:test: Read from another copy.",
        "note on a:test: 2 rows make no case, such as row 5 (no gold)",
        "beware: of the 200 cases of [cases] test, 3 are also in [cases] train, and 9 share a "
        "group with it",
        "As published.",
        "training: 2 of 9 cases cannot be read, the first of them a/2 (no such file)",
    ]


def test_a_run_without_results_or_pictures_has_a_page_nevertheless(tmp_path: Path) -> None:
    run = hostile(tmp_path)
    shutil.rmtree(run.path / "images")
    text = write_report([str(run.path)]).read_text("utf-8")
    assert "unparsed" in text
    assert not [tag for tag, _ in Tags(text).tags if tag == "img"]


def test_the_page_of_pivots_has_their_figures_and_no_headline(tmp_path: Path) -> None:
    rate = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}
    run = RunFolder.create(tmp_path / "pivots", {"command": "pivot"})
    pivots = [{"benchmark": "kind", "replies asked for": 10, "call accepted": rate}]
    run.write_json("results.json", {"format": 1, "command": "pivot", "pivot": pivots})
    shown = sections([ReportedRun.open(str(run.path))])
    assert [each.name for each in shown] == ["pivot", "made"]
    (table,) = shown[0].tables
    assert [*table.rows] == [
        ("benchmark", "kind"), ("replies asked for", "10"),
        ("call accepted", "50.0 % (40.0 to 60.0) of 10"),
    ]  # fmt: skip


def test_what_is_wrong_is_one_line(tmp_path: Path, capsys: Capture) -> None:
    assert main(["report", str(tmp_path / "nothing")]) == 2
    assert "is no run folder" in capsys.readouterr().err


def test_measurements_of_any_form_are_tables() -> None:
    rate = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}
    (flat,) = tables_of({"blank images": rate, "cases": 10})
    assert list(flat.rows) == [("blank images", "50.0 % (40.0 to 60.0) of 10"), ("cases", "10")]
    (rows,) = tables_of([{"name": "blur", "1": rate, "2": None}])
    assert list(rows.headings) == ["name", "1", "2"]
    assert list(rows.rows[0]) == ["blur", "50.0 % (40.0 to 60.0) of 10", "-"]
    (named,) = tables_of({"blur": {"BE": 0.25}, "noise": {"BE": 0.5}})
    assert [row[0] for row in named.rows] == ["blur", "noise"]
    ratio = {"value": 0.42, "low": 0.3, "high": 1.5, "n": 9}
    (ratios,) = tables_of([{"BE": ratio | {"high": 0.9}, "rBE": ratio, "drop": rate, "p": 5e-5}])
    assert list(ratios.rows[0]) == [
        "0.42 (0.30 to 0.90) of 9", "0.42 (0.30 to 1.50) of 9",
        "+50.0 points (+40.0 to +60.0) of 10", "<0.001",
    ]  # fmt: skip
    (shares,) = tables_of({"pass@2": 0.25, "paragraph_recall": rate, "corruptions": []})
    assert [*shares.rows] == [
        ("pass@2", "25.0 %"), ("paragraph recall", "50.0 % (40.0 to 60.0) of 10")
    ]  # fmt: skip
    deep = [*tables_of({"CT": {"blur": {"1": rate}}, "MR": {"blur": {"1": rate}}})]
    assert [each.caption for each in deep] == ["CT", "MR"]


def test_the_command_is_made_from_what_was_asked() -> None:
    asked = {"command": "eval", "policy": "hf:m", "cases": "a:test", "tools": [], "repeats": 4}
    assert command(asked) == "medgym eval a:test --policy hf:m --no-tools --repeats 4"
    assert command({**asked, "suite": "phantom", "cases": {}}) == (
        "medgym eval phantom --policy hf:m --repeats 4"
    )
    assert command({"command": "train"}) == ""


def test_kinds_of_failure() -> None:
    outcome = CaseOutcome(
        benchmark="", case="1", case_hash="", source="own", group="", answer_type="choice",
        modality=None, body_part=None, language="en", member=0, scorer="choice", version="3",
        gold="a", answer="b", verdict="wrong", score=0.0, lenient_verdict="wrong",
        lenient_score=0.0, reward=0.0, looked=True, hit=None, turns=1, calls=0, tokens=0,
    )  # fmt: skip
    kinds = {
        failures.kind_of(replace(outcome, **changed)): changed
        for changed in (
            {"verdict": "right"},
            {"verdict": "unanswered", "lenient_verdict": "right"},
            {"looked": False},
            {"hit": True},
            {"hit": False},
            {"hit": None},
            {"verdict": "failed", "lenient_verdict": "failed"},
        )
    }
    assert list(kinds) == [
        None, "right, but not in medgym's form", "wrong, never looked",
        "wrong, although it saw the finding", "wrong, looked elsewhere", "wrong, looked", "failed",
    ]  # fmt: skip


@pytest.mark.skipif(BROWSER is None, reason="there is no browser here")
def test_a_browser_draws_the_charts_and_a_phone_needs_no_scrolling(
    runs: Path, tmp_path: Path
) -> None:
    """In frames of 1200 and 390 px. What the browser says of itself is in the frames' titles."""
    assert BROWSER is not None
    page = write_report([str(runs / "prior")])
    told = """<p id="told"></p><script>addEventListener("load", () => setTimeout(() => {
      document.getElementById("told").textContent = JSON.stringify(
        [...document.querySelectorAll("iframe")].map((frame) => {
          const root = frame.contentDocument;
          return { title: root.title, drawn: root.querySelectorAll(".chart svg.main-svg").length,
            charts: root.querySelectorAll(".chart").length,
            wide: root.documentElement.scrollWidth };
        })); }, 1000));</script>"""
    frames = "".join(
        f'<iframe src="{page.as_uri()}" width={w} height=900></iframe>' for w in (1200, 390)
    )
    (tmp_path / "frames.html").write_text(frames + told)
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--allow-file-access-from-files", "--dump-dom",
            f"--user-data-dir={tmp_path / 'browser'}", "--virtual-time-budget=20000",
            (tmp_path / "frames.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    found = re.search(r'<p id="told">(.*?)</p>', done.stdout)
    assert found is not None, done.stderr
    wide, narrow = json.loads(html.unescape(found[1]))
    for each in (wide, narrow):
        assert each["charts"] >= 4
        assert each["drawn"] >= each["charts"]
        assert each["title"] == "prior"
    assert narrow["wide"] <= 390


def test_of_a_long_spec_the_model_is_read_in_a_chart() -> None:
    spec = "openai:https://api.example.org/v1?tools=native#{}-with-a-name"
    small, large = (charts.short(spec.format(name)) for name in ("small", "large"))
    assert small != large
    assert small.startswith("openai:https")
    assert max(len(small), len(large)) <= charts.LONGEST
