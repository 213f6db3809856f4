"""The command: what it prints, its exit status, and every way of asking wrongly."""

import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from typer.testing import CliRunner

from medgym import registry
from medgym.cli import about, app, loaded, main
from medgym.errors import RunError, UserError
from medgym.failures import Failure

Capture = pytest.CaptureFixture[str]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: Capture, no_progress: None) -> Run:
    """Runs the command in this process: its status, stdout and stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        status = main(words)
        return status, *capsys.readouterr()

    return call


def medgym(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "medgym.cli", *words], capture_output=True, text=True, **options
    )


def picture(path: Path, size: tuple[int, int] = (60, 40)) -> Path:
    values = np.arange(size[0] * size[1] * 3) % 251
    Image.fromarray(values.astype(np.uint8).reshape(size[1], size[0], 3)).save(path)
    return path


def bomb(path: Path) -> Path:
    """A PNG file of a few hundred bytes whose head says 40,000 x 25,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", 40_000, 25_000, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )
    return path


def without_pixels(path: Path) -> Path:
    """A DICOM file that holds no image."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.save_as(path, enforce_file_format=True)
    return path


# What it prints.


def test_help_names_every_command_and_imports_none() -> None:
    code = (
        "import sys; from medgym.cli import main; main(['--help']);"
        "heavy = {'torch', 'transformers'};"
        "heavy |= {'medgym.train.commands.train', 'medgym.commands.cases.app'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in registry.names("commands"):
        assert re.search(rf"\b{name}\b", done.stdout)
    assert "Example: medgym play" in done.stdout


@pytest.mark.parametrize("name", ["cases", "play", "rollout", "credit", "train", "eval"])
def test_each_command_has_help_with_an_example(name: str, run: Run) -> None:
    assert about(name)
    status, out, _ = run(name, "--help")
    assert status == 0
    assert f"Example: medgym {name} " in out
    assert "--json" in out or name == "cases"


def test_the_runner_of_typer_works_too() -> None:
    done = CliRunner().invoke(app, ["cases", "phantom:test[:1]"])
    assert done.exit_code == 0
    assert "phantom/test/" in done.stdout


def test_version(run: Run) -> None:
    assert run("--version") == (0, "medgym 0.1.0\n", "")


def test_python_dash_m_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "medgym", "plya"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (
        2, "medgym: unknown command 'plya'; did you mean 'play'?\n",
    )  # fmt: skip


def test_the_installed_script_is_the_command() -> None:
    script = Path(sys.executable).with_name("medgym")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("medgym 0.1.0\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_completion(shell: str) -> None:
    asked = {**os.environ, "_MEDGYM_COMPLETE": f"source_{shell}"}
    done = subprocess.run(
        [sys.executable, "-m", "medgym"], env=asked, capture_output=True, text=True, check=True
    )
    assert "_MEDGYM_COMPLETE=complete" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("medgym roll", ["rollout"]),
        ("medgym rollout --group", ["--group-size"]),
        ("medgym roll --group", []),  # no such command: nothing, and no error among the words
    ],
)
def test_the_completion_knows_commands_and_options(line: str, completed: list[str]) -> None:
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    asked = {**os.environ, "_MEDGYM_COMPLETE": "complete_bash", **words}
    done = subprocess.run(
        [sys.executable, "-m", "medgym"], env=asked, capture_output=True, text=True, check=True
    )
    assert (done.stdout.split(), done.stderr) == (completed, "")


def test_nothing_asked_is_help(run: Run) -> None:
    status, out, _ = run()
    assert status == 0
    assert "rollout" in out


def test_a_plugged_in_function_becomes_a_command(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    def greet(name: str, loud: bool = False) -> None:
        print(f"hello {name}{'!' if loud else ''}")

    load, names = registry.load, registry.names
    monkeypatch.setattr(
        registry, "load", lambda kind, name: greet if name == "greet" else load(kind, name)
    )
    monkeypatch.setattr(registry, "names", lambda kind: ("greet", *names(kind)))
    assert run("greet", "you", "--loud") == (0, "hello you!\n", "")
    assert loaded("greet").name == "greet"


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    def needs_torch() -> None:
        exec("import torch", {"__name__": "medgym.train.somewhere"})

    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(registry, "load", lambda kind, name: needs_torch)
    status, _, err = run("train")
    assert status == 2
    assert re.fullmatch(r"medgym: torch is not installed; fix: pip install .*\[train\]'\n", err)


def test_cases_lists_without_gold_unless_asked(run: Run) -> None:
    status, out, _ = run("cases", "phantom,question=kind:test[:40]", "-n", "2")
    assert status == 0
    assert out.count("phantom/test/") == 2
    assert "A. striated  B. banded" in out
    assert "gold" not in out
    assert out.endswith("40 cases, 2 of them listed (--limit)\n")
    assert "gold: " in run("cases", "phantom,question=kind:test[:1]", "--gold")[1]


def test_cases_as_json(run: Run) -> None:
    status, out, err = run("cases", "phantom,question=kind:test[:3]", "--json")
    listed = json.loads(out)
    assert (status, err, listed["count"], len(listed["cases"])) == (0, "", 3, 3)
    assert not {"answer", "regions"} & listed["cases"][0].keys()
    gold = json.loads(run("cases", "phantom,question=kind:test[:3]", "--json", "--gold")[1])
    assert gold["cases"][0]["answer"] in gold["cases"][0]["options"]
    assert "mask" not in gold["cases"][0]["regions"][0]


def test_cases_are_drawn_on_a_sheet(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "new" / "sheet.png"
    words = ("cases", "show", "phantom,question=kind:test", "-n", "3", "--out", str(out))
    status, said, _ = run(*words, "--side", "64")
    assert status == 0
    assert "3 cases" in said
    small = Image.open(out).size
    status, said, _ = run(*words, "--side", "64", "--gold", "--full", "--json")
    assert json.loads(said)["cases"] == 3
    assert Image.open(out).size > small


def test_play_prints_the_conversation_and_saves_the_views(run: Run, tmp_path: Path) -> None:
    words = ("play", "phantom,question=kind:test", "--policy", "scripted:oracle")
    status, out, err = run(*words, "--out", str(tmp_path / "played"))
    assert (status, err) == (0, "")
    turns = re.findall(r"^\[(\w+)\]$", out, re.MULTILINE)
    assert turns == ["system", "user", "assistant", "tool", "assistant"]
    assert "right, reward 1.10" in out
    kept = sorted(p.name for p in (tmp_path / "played").iterdir())
    assert kept == ["overview-0.png", "view-0.png", "view-1.png"]
    assert Image.open(tmp_path / "played" / "view-0.png").size == (64, 64)


def test_play_as_json_tells_where_it_looked(run: Run) -> None:
    words = ("play", "phantom,question=kind:test", "--policy", "scripted:oracle", "--json")
    status, out, err = run(*words)
    record = json.loads(out)
    assert (status, err, record["correct"]) == (0, "", True)
    assert [len(m["views"]) for m in record["messages"]] == [0, 1, 0, 1, 0]
    (look,) = record["looks"]
    assert (look["view"], look["tool"]) == (1, "zoom")


CONSULTATION = """
[consultation]
specialties = ["radiologist"]
opinions = 2
[roles.triage]
policy = "scripted:oracle"
[roles.specialist]
policy = "scripted:oracle"
tools = ["zoom"]
[roles.attending]
policy = "scripted:oracle"
tools = ["zoom"]
"""


def test_play_shows_every_part_of_a_consultation(run: Run, tmp_path: Path) -> None:
    recipe = tmp_path / "c.toml"
    recipe.write_text(CONSULTATION)
    words = ("play", "phantom,look=ct,question=kind:test", "--policy", f"consultation:{recipe}")
    status, out, err = run(*words)
    assert (status, err) == (0, "")
    heads = re.findall(r"^== ([\w:]+), scripted:oracle, \d+\.\d\d s$", out, re.MULTILINE)
    assert heads == ["triage", *["specialist:radiologist"] * 2, "attending"]
    assert "right, reward 1.10" in out
    record = json.loads(run(*words, "--json")[1])
    assert [len(part["messages"]) for part in record["parts"]] == [2, 4, 4, 4]
    # Two specialists looked at the same place, so the attending's first look makes view 2.
    assert [look["view"] for look in record["looks"]] == [2]
    status, _, err = run(*words, "--out", str(tmp_path / "played"))
    assert (status, "medgym view RUN" in err) == (2, True)
    assert not (tmp_path / "played").exists()


@pytest.mark.parametrize("spec", ["consultation:{recipe}", "majority:3:scripted:oracle"])
def test_a_team_that_plays_with_gold_is_refused_ones_own_image(
    spec: str, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "c.toml").write_text(CONSULTATION)
    policy = spec.format(recipe=tmp_path / "c.toml")
    own = picture(tmp_path / "own.png")
    words = ("play", "--image", str(own), "--question", "Is it?", "--options", "yes,no")
    status, _, err = run(*words, "--policy", policy)
    assert (status, "plays with the gold answer" in err) == (2, True)


def test_what_cannot_be_played_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise Failure("policy", "the endpoint is down")

    monkeypatch.setattr("medgym.agents.scripted.policy.Prior.reply", fail)
    status, _, err = run("play", "phantom:test", "--policy", "scripted:prior")
    assert status == 1
    assert err.startswith("medgym: scripted:prior could not play phantom/test/")
    assert "(policy: the endpoint is down); fix: remove the cause" in err


@pytest.mark.parametrize("at_once", [True, False], ids=["line by line", "at the end"])
@pytest.mark.parametrize("command", ["play", "cases"])
def test_an_output_that_nobody_reads_is_no_failed_policy(command: str, at_once: bool) -> None:
    policy = ["--policy", "scripted:oracle"] if command == "play" else []
    words = [sys.executable, "-m", "medgym.cli", command, "phantom:test[:2]", *policy]
    environ = {**os.environ, "PYTHONUNBUFFERED": "1" if at_once else ""}
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    )
    assert process.stdout is not None
    process.stdout.close()  # before it can have begun to write
    _, err = process.communicate(timeout=240)
    assert process.returncode == 1
    line = "medgym: the output was closed before its end; fix: let it be read whole\n"
    # What the parser itself sees, it ends quietly.
    assert err == ("" if command == "cases" and at_once else line)


def test_a_person_takes_part_in_no_consultation(run: Run, tmp_path: Path) -> None:
    recipe = tmp_path / "c.toml"
    recipe.write_text(CONSULTATION.replace('"scripted:oracle"', '"human"', 1))
    status, out, err = run("play", "phantom:test", "--policy", f"consultation:{recipe}")
    assert (status, out) == (2, "")
    assert "a person cannot take part in a consultation" in err


def test_play_finds_the_case_that_is_named(run: Run) -> None:
    wanted = json.loads(run("cases", "phantom:test[7:8]", "--json")[1])["cases"][0]["id"]
    words = ("play", "phantom:test", "--policy", "scripted:prior", "--case", wanted, "--json")
    assert json.loads(run(*words)[1])["case"] == wanted


@pytest.mark.parametrize("name", ["own.png", "own.jpg", "own.tiff"])
def test_one_can_play_on_ones_own_picture(name: str, run: Run, tmp_path: Path) -> None:
    own = picture(tmp_path / name)
    words = ("play", "--image", str(own), "--question", "Is it?", "--options", "yes,no")
    status, out, _ = run(*words, "--policy", "scripted:prior")
    assert status == 0
    assert "60 x 40 pixels" in out
    assert re.search(r"^answer: [AB]$", out, re.MULTILINE)
    assert "gold" not in out
    assert "reward" not in out
    record = json.loads(run(*words, "--policy", "scripted:prior", "--json")[1])
    assert not {"gold", "correct", "reward"} & record.keys()


def test_one_can_play_on_ones_own_dicom_file_and_on_two(run: Run, tmp_path: Path) -> None:
    ct = pydicom.data.get_testdata_file("CT_small.dcm", download=False)
    words = ["play", "--image", str(ct), "--image", str(picture(tmp_path / "b.png"))]
    words += ["--question", "Same?", "--options", "yes,no", "--policy", "scripted:prior"]
    status, out, _ = run(*words)
    assert status == 0
    assert "View 0: image 0, 128 x 128 pixels.\nView 1: image 1, 60 x 40 pixels." in out


def test_a_person_can_play(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = iter(["zoom 0 100 100 200 200", "", "B"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    words = ("play", "phantom:test", "--policy", "human", "--out", str(tmp_path / "a"), "--json")
    status, out, _ = run(*words)
    record = json.loads(out)
    assert (status, record["answer"], len(record["looks"])) == (0, "B", 1)
    assert (tmp_path / "a" / "view-1.png").exists()


def test_what_a_policy_writes_cannot_steer_the_terminal(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: "\x1b[2J\x07 gone")
    status, out, _ = run("play", "phantom:test", "--policy", "human", "--out", str(tmp_path / "a"))
    assert (status, "\x1b" in out, "\x07" in out) == (0, False, False)


def test_rollout_fills_a_run_folder_and_repeats(run: Run, tmp_path: Path) -> None:
    words = ("rollout", "phantom:train[:3]", "--policy", "scripted:random", "--group-size", "2")
    words = (*words, "--json", "--out")
    status, out, err = run(*words, str(tmp_path / "a"))
    results = json.loads(out)
    assert (status, err, results["trajectories"]) == (0, "", 6)
    again = json.loads(run(*words, str(tmp_path / "b"))[1])
    assert again["content"] == results["content"]
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {"recipe.toml", "manifest.json", "images", "trajectories"}


def test_the_check_of_phantoms_passes(run: Run) -> None:
    status, out, _ = run("cases", "check", "phantom:test", "--n", "8", "--no-probe", "--json")
    assert status == 0
    rows = json.loads(out)["checks"]
    assert {"pass", "warn"} >= {row["verdict"] for row in rows}
    assert {"check", "verdict", "figure", "fix"} == rows[0].keys()


def test_a_check_that_fails_is_exit_status_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from medgym.case_checks.report import CheckReport, CheckRow
    from medgym.sources.phantom import checked

    row = CheckRow("the sky", "fail", "green", "paint it")
    monkeypatch.setattr(checked, "check_phantoms", lambda *_, **__: CheckReport((row,)))
    status, out, err = run("cases", "check", "phantom:test", "--n", "1")
    assert status == 1
    assert "fail  the sky: green; fix: paint it\n" in out
    assert "checks failed, the first: the sky: green; fix: paint it\n" in err


# What it is asked wrongly: one line that names the thing and the fix, exit status 2.

OWN = ("--question", "x", "--options", "a,b", "--policy", "scripted:random")
PHANTOM = ("play", "phantom:test", "--policy")

WRONG = {
    "no such image": (("play", "--image", "none.png", *OWN), "no such image: .*none.png; fix: "),
    "no image": (("play", "--image", "text.png", *OWN), "text.png is not a readable PNG"),
    "a bomb": (("play", "--image", "bomb.png", *OWN), "bomb.png has more than [0-9,]+ pixels; fi"),
    "no pixels": (("play", "--image", "empty.dcm", *OWN), "empty.dcm is a DICOM file without pix"),
    "cut off": (("play", "--image", "cut.jpg", *OWN), "cut.jpg is not a readable"),
    "a folder": (("play", "--image", "taken", *OWN), "taken holds no DICOM image; fix: "),
    "policy": ((*PHANTOM, "scripted:oracl"), "unknown scripted policy 'oracl'; did you mean 'orac"),
    "scheme": ((*PHANTOM, "scriptd:oracle"), "unknown policy 'scriptd'; did you mean 'scripted'"),
    "no scheme": ((*PHANTOM, "oracle"), "cannot read the policy 'oracle'; fix: write SCHEME:NAME"),
    "model": (("eval", "phantom:test[:1]", "--policy", "hf:./none"), "no such model folder: ./n"),
    "tool": ((*PHANTOM, "scripted:oracle", "--tools", "zom"), "unknown tool 'zom'; did you mean"),
    "tool twice": ((*PHANTOM, "scripted:oracle", "--tools", "zoom,zoom"), "given twice; fix: "),
    "tools": ((*PHANTOM, "scripted:oracle", "--tools", "zoom", "--no-tools"), "exclude each other"),
    "no tool": ((*PHANTOM, "scripted:oracle", "--tools", ""), "names no tool; fix"),
    "source": (("cases", "phantm:test"), "unknown source 'phantm'; did you mean 'phantom'"),
    "option": (("cases", "phantom,lok=ct:test"), "unknown option of phantom 'lok'; did you mean"),
    "split": (("cases", "phantom:tst"), "unknown split of phantom 'tst'; did you mean 'test'"),
    "spec": (("cases", "x"), "cannot read the cases 'x'; write SOURCE:SPLIT"),
    "no split": ((*PHANTOM[:1], "phantom", *PHANTOM[2:], "scripted:oracle"), "name no split; fix"),
    "csv": (("cases", "own.csv"), "no such table: own.csv; fix: check the path"),
    "no case": ((*PHANTOM[:1], "phantom:test[5:5]", *PHANTOM[2:], "scripted:oracle"), "no case; f"),
    "case": ((*PHANTOM, "scripted:oracle", "--case", "x"), "no case 'x' among these; fix"),
    "view": ((*PHANTOM, "scripted:oracle", "--view-size", "448"), "only at a view_size of 32, 64"),
    "rubric": ((*PHANTOM, "scripted:oracle", "--rubric", "outcom"), "unknown rubric 'outcom'; did"),
    "judge": (("eval", "phantom:test[:1]", "--policy", "scripted:prior", "--judge", "q"), "judge"),
    "no split of a source": (
        ("eval", "phantom,look=ct", "--policy", "scripted:prior"),
        "name no split; fix: write phantom,look=ct:train",
    ),
    "suite": (("eval", "phantm", "--policy", "scripted:prior"), "no suite has that name; fix: wri"),
    "suite's own": (
        ("eval", "phantom", "--policy", "scripted:prior", "--temperature", "0"),
        "the suite phantom sets its own protocol; fix: omit --temperature"),
    "recipe": (("train", "tinny"), "unknown recipe 'tinny'; did you mean 'tiny'"),
    "recipe key": (("train", "recipe.toml", "--out", "new"), "max_stepz.* mean .*max_steps'"),
    "command": (("plya",), "unknown command 'plya'; did you mean 'play'"),
    "no policy": (("play", "phantom:test"), "Missing option '--policy'; fix: see medgym pl"),
    "flag": ((*PHANTOM, "scripted:oracle", "--tols", "x"), "--tols.*fix: see medgym play --help"),
    "number": ((*PHANTOM, "scripted:oracle", "--max-turns", "x"), "--max-turns.*fix: see medgym"),
    "gold": (("play", "--image", "own.png", *OWN[:5], "scripted:oracle"), "has none; fix: choose"),
    "no question": (("play", "--image", "own.png", *OWN[4:]), "needs a --question; fix"),
    "one option": (
        ("play", "--image", "own.png", *OWN[:3], "a", *OWN[4:]), "'a' are not two or more; fix"),
    "nothing": (("play", "--policy", "scripted:prior"), "nothing to play; fix: name CASES, or"),
    "both": (("play", "phantom:test", "--image", "own.png", *OWN), "exclude each other; fix"),
    "blind": ((*PHANTOM, "human"), "a person needs to see the views; fix: add --out DIR"),
    "sheet": (("cases", "show", "phantom:test", "--out", "a.gif"), "a.gif is no PNG file; fix"),
    "run folder": (
        ("rollout", "phantom:test[:1]", "--policy", "scripted:prior", "--out", "taken"),
        "the run folder taken exists and is not empty; fix: choose another name"),
    "run folder of eval": (
        ("eval", "phantom:test[:1]", "--policy", "scripted:prior", "--out", "taken"),
        "the run folder taken exists and is not empty; fix: choose another name"),
    "run folder of train": (
        ("train", "tiny", "--out", "taken"), "the run folder taken exists and is not empty; f"),
    "folder of views": ((*PHANTOM, "scripted:oracle", "--out", "taken"), "taken exists and is"),
    "a file as folder": (
        ("rollout", "phantom:test[:1]", "--policy", "scripted:prior", "--out", "own.png"),
        "own.png is a file"),
}  # fmt: skip


@pytest.fixture(scope="module")
def bad_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything in it that the wrong questions are about."""
    place = tmp_path_factory.mktemp("bad")
    picture(place / "own.png")
    (place / "text.png").write_text("hello")
    bomb(place / "bomb.png")
    without_pixels(place / "empty.dcm")
    whole = picture(place / "cut.jpg", (300, 300)).read_bytes()
    (place / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (place / "taken").mkdir()
    (place / "taken" / "mine.txt").write_text("precious")
    recipe = registry.load("recipes", "tiny").read_text("utf-8")
    assert "max_steps" in recipe
    (place / "recipe.toml").write_text(recipe.replace("max_steps", "max_stepz"))
    return place


def contents(place: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG.keys())
def test_what_is_asked_wrongly_is_one_line_and_status_2(
    case: tuple[tuple[str, ...], str], bad_place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, expected = case
    monkeypatch.chdir(bad_place)
    before = contents(bad_place)
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert err.startswith("medgym: ")
    assert err.count("\n") == 1
    assert re.search(expected, err), err
    assert contents(bad_place) == before


def test_in_a_process_of_its_own_it_is_the_same(bad_place: Path) -> None:
    done = medgym("play", "--image", "none.png", *OWN, cwd=bad_place)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch("medgym: no such image: .*none.png; fix: check the path\n", done.stderr)


# What fails.


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("no such\nthing; fix: look"), 2, "no such thing; fix: look"),
        (RunError("it broke; fix: glue it"), 1, "it broke; fix: glue it"),
        (ZeroDivisionError("1/0"), 1, "unexpected ZeroDivisionError: 1/0; fix: MEDGYM_TRACEBACK"),
        (PermissionError(13, "Permission denied", "x/.tmp-1"), 2, "x cannot be used (Permission "),
        (NotADirectoryError(20, "Not a directory", "a/b"), 2, "a/b cannot be used (Not a direct"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=["user", "run", "unexpected", "rights", "place", "interrupt"],
)
def test_errors_become_one_line_and_a_status(
    error: BaseException, status: int, line: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(registry, "load", lambda kind, name: fail)
    got, out, err = run("play")
    assert (got, out, err.count("\n")) == (status, "", 1)
    assert err.startswith(f"medgym: {line}")
    monkeypatch.setenv("MEDGYM_TRACEBACK", "1")
    if status != 130:
        got, out, err = run("play")
        assert (got, out) == (status, "")
        assert err.startswith("Traceback (most recent call last)")
        assert err.splitlines()[-1].startswith(f"medgym: {line}")


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit(3), GeneratorExit()])
def test_no_plug_in_ends_a_command_of_medgyms_without_a_word(
    error: BaseException, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(registry, "load", lambda kind, name: fail)
    got, out, err = run("play")
    assert (got, out) == (1, "")
    assert err.startswith(f"medgym: unexpected {type(error).__name__}")
    package = SimpleNamespace(name="play", dist=SimpleNamespace(name="another"))
    monkeypatch.setattr("medgym.cli.entry_points", lambda group: [package])
    with pytest.raises(type(error)):  # a command of another package ends as it likes
        main(["play"])


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to a process there")
def test_ctrl_c_is_one_line_and_keeps_what_was_played(tmp_path: Path) -> None:
    in_time = "interrupt.PATIENCE = interrupt.STORING = 120.0; sys.exit(main())"
    code = f"import sys; from medgym import interrupt; from medgym.cli import main; {in_time}"
    command = [sys.executable, "-c", code, "rollout", "phantom:train", "--out", "run"]
    process = subprocess.Popen(
        [*command, "--policy", "scripted:random"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    images = tmp_path / "run" / "images"
    for _ in range(2000):
        if images.exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=240)
    assert (process.returncode, out) == (130, "")
    resumed = "medgym: interrupted; to resume, run the same command again"
    assert err.splitlines()[-1] == resumed
    assert "Traceback" not in err
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "running"
