"""`bench evaluation`: the memory of an evaluation of 20,000 cases, and beside one of 1,000.

What is measured is the greatest resident memory of a process that runs `medgym eval` with a policy
that takes next to none itself, on cases of a file. The rival plays the same and keeps each episode,
as evaluations do that judge a list of samples once all are there. Each runs in a process of its
own.
"""

import json
import subprocess
import sys
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from medgym.cases import open_cases, write_cases
from medgym.cli import main as command
from medgym.episode import Rules
from medgym.errors import RunError, UserError
from medgym.rollout import collect

from .comparison import Comparison, in_turns
from .pictures import noise_cases
from .studies.resident import MEGABYTE, STATUS, resident

FEW, MANY = 1_000, 20_000
"""Cases."""

RIVAL = "every episode held, judged at the end"
POLICY = "scripted:random"


def evaluation(few: int = FEW, many: int = MANY) -> list[Comparison]:
    """Measure both at both sizes, each in a fresh process.

    Raises:
        UserError: this is no Linux.
    """
    if not STATUS.exists():
        raise UserError("bench evaluation reads /proc, as Linux has it; fix: run it there")
    ours: dict[int, float] = {}
    held: dict[int, float] = {}
    with TemporaryDirectory() as folder:
        (case,) = noise_cases(Path(folder), 1, 64)
        for count in (few, many):
            cases = Path(folder) / f"{count}.jsonl"
            numbered = (
                case.model_copy(update={"id": f"noise/test/{number}", "group": str(number // 3)})
                for number in range(count)
            )
            write_cases(numbered, cases)
            ours[count], held[count] = in_turns(
                f"{count:,} cases", partial(_measured, "ours", cases),
                partial(_measured, "held", cases), 1,
            )  # fmt: skip
    grown = ours[many] - ours[few], held[many] - held[few]
    return [
        Comparison(f"evaluation.{many}.memory", ours[many], "MB", RIVAL, held[many]),
        Comparison(f"evaluation.{many}.growth", grown[0], "MB", RIVAL, grown[1]),
    ]


def _measured(side: str, cases: Path) -> float:
    words = [sys.executable, "-m", __name__, side, str(cases)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RunError(f"the process that was measured failed ({last}); fix: run it by itself")
    return float(json.loads(done.stdout))


def main() -> None:
    """In the process that is measured: `SIDE CASES`."""
    side, cases = sys.argv[1:]
    if side == "ours":
        with redirect_stdout(StringIO()):
            status = command(["eval", cases, "--policy", POLICY, "--no-tools", "--max-turns", "2"])
        if status:
            sys.exit(status)
    else:
        opened = open_cases(cases)
        rules = Rules.for_cases(opened, tools=[], max_turns=2)
        kept = list(collect(opened, POLICY, rules))
        assert sum(each.answer is not None for each in kept) > 0
    print(json.dumps(resident("VmHWM") / MEGABYTE))


if __name__ == "__main__":
    main()
