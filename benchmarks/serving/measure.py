"""`bench serving URL`: the rows, measured in turns, each side in a fresh process.

Cold: questions whose images the server has never seen. Warm: the same questions once more.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from medgym.errors import RunError, UserError
from medgym.progress import progress
from medgym.storage.run_folder import open_run

from ..comparison import Comparison, figure
from ..studies.resident import CLEAR
from .questions import SIDE, Questions, write_questions
from .tagged import is_right

CASES, RIVAL_CASES, IN_FLIGHT, MAX_TOKENS = 200, 400, 64, 32
REPETITIONS, RIVAL_REPETITIONS = 3, 1
PLAIN = "httpx2, asyncio, a semaphore"
NOTHING = "a client that does nothing"
RIVALS = {"verifiers": "verifiers", "inspect": "inspect_ai"}
"""By the option's name: the library."""

Measured = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    cases: int = CASES
    rival_cases: int = RIVAL_CASES
    repetitions: int = REPETITIONS
    rival_repetitions: int = RIVAL_REPETITIONS
    side: int = SIDE


def serving(
    url: str, rivals: dict[str, str | None] | None = None, sizes: Sizes | None = None
) -> list[Comparison]:
    """Measure an evaluation through the server at a URL.

    Args:
        url: `http://HOST:PORT/v1#MODEL`.
        rivals: by the names of `RIVALS`, the Python that has the library; None where this one may.

    Raises:
        UserError: there is no model in the URL, or no /proc.
        RunError: a side failed.
    """
    if "#" not in url:
        raise UserError(f"{url} names no model; fix: write {url}#MODEL")
    if not CLEAR.exists():
        raise UserError("bench serving reads /proc, as Linux has it; fix: run it there")
    sizes = sizes or Sizes()
    pythons = {name: _python(name, (rivals or {}).get(name)) for name in RIVALS}
    for name, python in pythons.items():
        if python is None:
            said = f"skipped: {RIVALS[name]} is not installed here; fix: add --{name} PYTHON"
            print(said, file=sys.stderr)
    found = [(name, python) for name, python in pythons.items() if python is not None]
    with (
        TemporaryDirectory() as folder,
        progress(
            "serving", 8 * sizes.repetitions + 4 * sizes.rival_repetitions * len(found)
        ) as advance,
    ):
        bench = _Bench(url, Path(folder), sizes, advance)
        rows = bench.against_plain()
        _say(rows)
        for name, python in found:
            more = bench.against(name, python)
            _say(more)
            rows += more
    return rows


def _say(rows: Sequence[Comparison]) -> None:
    """Rows on stderr as soon as they are measured: the next ones take minutes."""
    for row in rows:
        said = (
            f"{row.metric}: {figure(row.value)} {row.unit}; {row.rival}: {figure(row.rival_value)}"
        )
        print(said, file=sys.stderr, flush=True)


def _python(name: str, given: str | None) -> str | None:
    """The Python that has a rival: the one that was given, or this one; None for neither."""
    if given is not None:
        asked = [given, "-c", f"import {RIVALS[name]}"]
        try:
            done = subprocess.run(asked, capture_output=True, check=False)
        except OSError as error:
            raise UserError(f"{given} is no Python ({error.strerror}); fix: --{name}") from error
        if done.returncode:
            raise UserError(f"{given} has no {RIVALS[name]}; fix: install it there")
        return given
    return sys.executable if find_spec(RIVALS[name]) is not None else None


class _Bench:
    """Runs the sides and keeps their questions apart."""

    def __init__(self, url: str, folder: Path, sizes: Sizes, advance: Callable[[], object]) -> None:
        self._url, _, self._model = url.partition("#")
        self._folder = folder
        self._sizes = sizes
        self._advance = advance
        self._count = 0
        self._request: Measured | None = None

    def against_plain(self) -> list[Comparison]:
        """Our side and the plain client's, and what the server gives at most."""
        ours: defaultdict[str, list[float]] = defaultdict(list)
        plain: defaultdict[str, list[float]] = defaultdict(list)
        most: defaultdict[str, list[float]] = defaultdict(list)
        for _ in range(self._sizes.repetitions):
            for figures, run in ((ours, self._ours), (plain, self._plain)):
                measured = run(self._questions(1))  # a reply to many at once waits for the others
                figures["first_reply"].append(measured["first"] - measured["start"])
                self._advance()
                asked = self._questions(self._sizes.cases)
                for way in ("cold", "warm"):
                    measured = run(asked)
                    seconds = measured["last"] - measured["begin"]
                    figures[way].append(self._sizes.cases / seconds)
                    figures["cpu"].append(1000 * measured["cpu"] / self._sizes.cases)
                    figures["memory"].append(measured["memory"])
                    self._advance()
            asked = self._questions(self._sizes.cases)
            for way in ("cold", "warm"):
                measured = self._nothing(asked)
                most[way].append(self._sizes.cases / (measured["last"] - measured["begin"]))
                self._advance()
        units = {"cold": "replies/s", "warm": "replies/s", "first_reply": "s"}
        units |= {"cpu": "ms a reply", "memory": "MB"}
        rows = [
            Comparison(f"serving.{name}", _median(ours[name]), unit, PLAIN, _median(plain[name]))
            for name, unit in units.items()
        ]
        return rows + [
            Comparison(
                f"serving.most.{way}", _median(ours[way]), units[way], NOTHING, _median(most[way])
            )
            for way in ("cold", "warm")
        ]

    def against(self, name: str, python: str) -> list[Comparison]:
        """Our side and that of another library, stored on both."""
        library = RIVALS[name]
        ours: defaultdict[str, list[float]] = defaultdict(list)
        theirs: defaultdict[str, list[float]] = defaultdict(list)
        same = total = 0
        for _ in range(self._sizes.rival_repetitions):
            asked, other = (self._questions(self._sizes.rival_cases) for _ in range(2))
            verdicts = {}
            for way in ("cold", "warm"):
                measured = self._ours(asked)
                verdicts = measured["right"]
                ours[way].append(len(verdicts) / (measured["end"] - measured["called"]))
                ours["memory"].append(measured["memory"])
                self._advance()
                # Cold on questions of its own; warm on ours, so that verdicts can be compared.
                measured = self._theirs(name, python, other if way == "cold" else asked)
                theirs[way].append(len(verdicts) / (measured["end"] - measured["begin"]))
                theirs["memory"].append(measured["memory"])
                self._advance()
            same += sum(verdicts[each] == measured["right"].get(each) for each in verdicts)
            total += len(verdicts)
        units = {"cold": "episodes/s", "warm": "episodes/s", "memory": "MB"}
        rows = [
            Comparison(
                f"serving.{name}.{what}", _median(ours[what]), unit, library, _median(theirs[what])
            )
            for what, unit in units.items()
        ]
        return [*rows, Comparison(f"serving.{name}.verdicts", same, "the same", "all cases", total)]

    def _questions(self, number: int) -> Questions:
        self._count += 1
        return write_questions(self._folder / f"questions-{self._count}", number, self._sizes.side)

    def _ours(self, asked: Questions) -> Measured:
        out = self._new("ours")
        policy = f"openai:{self._url}?concurrency={IN_FLIGHT}#{self._model}"
        measured = self._run(
            [sys.executable, "-m", f"{__package__}.ours"],
            [str(asked.cases), policy, str(out), str(self._sizes.side), *_LIMITS],
        )
        self._request = measured["request"]
        replies = {each.case_id: each.nodes[-1].text for each in open_run(out).trajectories}
        with asked.chat.open(encoding="utf-8") as lines:
            measured["right"] = {
                each["id"]: is_right(
                    replies[each["id"]],
                    (each["letter"], each["options"]["ABCD".index(each["letter"])]),
                )
                for each in map(json.loads, lines)
                if each["id"] in replies
            }
        return measured

    def _plain(self, asked: Questions) -> Measured:
        words = [str(asked.chat), str(self._new("plain")), self._as_sent(), str(IN_FLIGHT)]
        return self._run([sys.executable, str(Path(__file__).parent / "plain.py")], words)

    def _nothing(self, asked: Questions) -> Measured:
        words = [str(asked.chat), self._as_sent(), str(IN_FLIGHT)]
        return self._run([sys.executable, str(Path(__file__).parent / "nothing.py")], words)

    def _as_sent(self) -> str:
        """A file with the request that our side has sent."""
        assert self._request is not None, "our side has sent it"
        request = self._folder / "request.json"
        request.write_text(json.dumps(self._request), "utf-8")
        return str(request)

    def _theirs(self, name: str, python: str, asked: Questions) -> Measured:
        script = Path(__file__).parent / f"against_{name}.py"
        words = [str(asked.chat), str(self._new(name)), self._url, self._model, *_LIMITS]
        return self._run([python, str(script)], words)

    def _new(self, name: str) -> Path:
        self._count += 1
        return self._folder / f"{name}-{self._count}"

    def _run(self, side: Sequence[str], words: Sequence[str]) -> Measured:
        """What a side measured; `start` is when its process was started."""
        file = self._folder / "measured.json"
        file.unlink(missing_ok=True)
        environment = os.environ | {"NO_KEY": "none", "INSPECT_LOG_LEVEL": "error"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled
        start = time.time()
        done = subprocess.run(
            [*side, str(file), *words],
            capture_output=True,
            text=True,
            env=environment,
            cwd=self._folder,
        )
        if done.returncode or not file.exists():
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise RunError(f"{Path(side[-1]).name} failed ({last[:300]}); fix: run it by itself")
        measured: Measured = json.loads(file.read_text("utf-8"))
        return measured | {"start": start}


_LIMITS = (str(MAX_TOKENS), str(IN_FLIGHT))


def _median(figures: Sequence[float]) -> float:
    return float(statistics.median(figures))
