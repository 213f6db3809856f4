import io
import sys

import pytest

from medgym.progress import _BARS, progress, written


class Clock:
    """Goes on by a step whenever it is read."""

    def __init__(self, step: float) -> None:
        self.now, self.step = -step, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_plain_lines_come_at_most_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("episodes", 10, clock=Clock(4)) as advance:
        for done in range(10):
            advance(1, reward=done / 10)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "episodes: 3/10, reward 0.2, 12 s, 28 s left",
        "episodes: 6/10, reward 0.5, 24 s, 16 s left",
        "episodes: 9/10, reward 0.8, 36 s, 4 s left",
        "episodes: 10/10, reward 0.9, 44 s",
    ]


def test_what_was_done_before_says_nothing_of_the_pace(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress("episodes", 100, done=90, clock=Clock(5)) as advance:
        for _ in range(10):
            advance()
    assert capsys.readouterr().err.splitlines() == [
        "episodes: 92/100, 10 s, 40 s left",
        "episodes: 94/100, 20 s, 30 s left",
        "episodes: 96/100, 30 s, 20 s left",
        "episodes: 98/100, 40 s, 10 s left",
        "episodes: 100/100, 50 s",
    ]


def test_what_is_over_at_once_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("episodes", 3, clock=Clock(0.1)) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


def test_an_unknown_total_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("lines", clock=Clock(1)) as advance:
        advance()
    assert capsys.readouterr().err == "lines: 1, 2 s\n"


def test_a_failure_passes_through_and_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with progress("episodes", 3, clock=Clock(2)) as advance:
            advance(1)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert capsys.readouterr().err == "episodes: 1/3, 4 s, 8 s left, interrupted\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_stdout_stays_clean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress("episodes", 4) as advance:
        advance(2, reward=0.25, note="[red]")
        print("a result")
        advance(2)
    shown = terminal.getvalue()
    assert "episodes" in shown
    assert "4/4" in shown
    assert "reward 0.25, note [red]" in shown
    assert capsys.readouterr().out == "a result\n"


def test_work_within_other_work_has_a_bar_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress("episodes", 4) as advance:
        advance(1)
        with progress("waiting for room, seconds", 600) as wait:
            wait(15)
            (bar,) = _BARS
            assert [(task.description, task.completed) for task in bar.tasks] == [
                ("episodes", 1),
                ("waiting for room, seconds", 15),
            ]
        advance(3)
    assert "4/4" in terminal.getvalue()
    assert not _BARS


def test_figures_are_short() -> None:
    assert written({"reward": 0.123456, "step": 12, "hit": None}) == "reward 0.123, step 12"
