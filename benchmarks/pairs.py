"""`bench pairs`: 10,000 pairs built from a stored run, in seconds of a processor and in memory.

The run has 20,000 episodes of 2,500 cases, each with one look, half of them right. The rival reads
the same rows with the library `datasets`, pairs right with wrong episodes of a case, and writes the
pairs, without images and without holding an episode to anything. Each runs in a process of its own.
"""

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from PIL import Image

from medgym.cases import Case, case_hash, open_cases
from medgym.errors import RunError
from medgym.messages import ImagePart
from medgym.metrics.regions import findings
from medgym.png import png_bytes
from medgym.progress import progress
from medgym.storage.run_folder import RunFolder, open_run
from medgym.trajectory import ImageUse, Look, Node, Trajectory, hash_ids

from .comparison import Comparison

CASES, MEMBERS = 2_500, 8
SPEC = "phantom,look=radiograph,question=kind:train[:{}]"
RIVAL = "datasets: rows read, paired and written"
PLACEHOLDER, QUESTION, REPLY, VIEW = 5, 150, 25, 90
"""A token, and how many tokens each turn has."""


def pairs(cases: int = CASES, members: int = MEMBERS) -> list[Comparison]:
    """Measure both, each in a fresh process."""
    with TemporaryDirectory() as folder:
        run = _run(Path(folder) / "run", cases, members)
        out = str(Path(folder) / "out")
        command = [sys.executable, "-m", "medgym", "pairs", "build", str(run), "--out", out]
        ours = _measured(command)
        count = sum(1 for _ in (Path(out) / "pairs.jsonl").open("rb"))
        theirs = _measured([sys.executable, "-m", __name__, str(run), f"{out}-rival"])
    units = ("s of CPU", "MB")
    return [
        Comparison(f"pairs.{count}.{name}", value, unit, RIVAL, other)
        for name, value, unit, other in zip(("build", "memory"), ours, units, theirs, strict=True)
    ]


def _measured(command: list[str]) -> tuple[float, float]:
    """The seconds of a processor that a command takes, and its greatest resident memory in MB.

    Other work on the machine changes neither.
    """
    with TemporaryFile("w+") as said:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            last = (said.read().strip().splitlines() or ["no reason given"])[-1]
            raise RunError(f"the process that was measured failed ({last}); fix: run it by itself")
    unit = 1 if sys.platform == "darwin" else 2**10
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 2**20


def _run(path: Path, cases: int, members: int) -> Path:
    """A run of episodes as a model would have sampled them."""
    spec = SPEC.format(cases)
    run = RunFolder.create(path, {"command": "rollout", "cases": spec})
    with progress("episodes of the run", cases * members) as advance:
        part: list[Trajectory] = []
        for number, case in enumerate(open_cases(spec)):
            for member in range(members):
                part.append(_episode(run, case, number, member))
            advance(members)
            if len(part) >= 512:
                run.trajectories.write(part)
                part = []
        run.trajectories.write(part)
    run.note(status="done")
    return path


def _episode(run: RunFolder, case: Case, number: int, member: int) -> Trajectory:
    right = member % 2 == 0
    overview, view = _image(run, number, 0), _image(run, number, 1 + member)
    held: list[int] = []
    nodes: list[Node] = []

    def add(role: str, ids: tuple[int, ...], images: tuple[ImageUse, ...] = ()) -> None:
        own = role == "assistant"
        nodes.append(
            Node(
                parent=len(nodes) - 1,
                role=role,  # type: ignore[arg-type]
                text=f"{role} says something of {case.id}",
                token_ids=ids,
                loss_mask=(int(own),) * len(ids),
                logprobs=(-0.25,) * len(ids) if own else (),
                images=images,
                prompt_hash=hash_ids(held) if own else "",
            )
        )
        held.extend(ids)

    marks = (PLACEHOLDER,) * 16
    add("user", (*marks, *range(1000, 1000 + QUESTION)), (ImageUse(overview, 0, 16),))
    add("assistant", tuple(range(2000 + member, 2000 + member + REPLY)))
    add("tool", (*marks, *range(3000, 3000 + VIEW)), (ImageUse(view, 1, 16),))
    add("assistant", tuple(range(4000 + member, 4000 + member + REPLY)))
    return Trajectory(
        case_id=case.id,
        policy="hf:model",
        seed=0,
        member=member,
        kind="sampled",
        nodes=tuple(nodes),
        vision_token_ids=(PLACEHOLDER,),
        answer=case.answer if right else "wrong",
        correct=right,
        reward=float(right),
        terms={"answer": float(right)},
        terminated=True,
        looks=(Look("zoom", 0, findings(case)[0].box_px, 4.0),),
        calls=("zoom",),
        case_hash=case_hash(case),
    )


def _image(run: RunFolder, number: int, view: int) -> str:
    """A small image of its own, stored without waiting for the disk."""
    image = Image.new("L", (8, 8), view)
    image.putpixel((0, 0), number % 256)
    image.putpixel((1, 0), number // 256)
    sha256 = ImagePart(view, image).sha256
    file = run.images.path / sha256[:2] / f"{sha256}.png"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png_bytes(image))
    return sha256


def main() -> None:
    """The rival, in the process that is measured: `RUN OUT`."""
    import datasets

    path, out = sys.argv[1:]
    rows = open_run(path).trajectories.dataset()
    sides: defaultdict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for place, (case_id, correct) in enumerate(zip(rows["case_id"], rows["correct"], strict=True)):
        sides[case_id][0 if correct else 1].append(place)

    def paired() -> Iterator[dict[str, object]]:
        for right, wrong in sides.values():
            for chosen, rejected in zip(right, wrong, strict=False):
                yield {"chosen": rows[chosen], "rejected": rows[rejected]}

    made = datasets.Dataset.from_generator(paired, cache_dir=f"{out}-cache")
    made.save_to_disk(out)


if __name__ == "__main__":
    main()
