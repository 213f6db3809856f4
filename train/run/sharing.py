"""Episodes that all processes of a run play together: each plays its share of the cases.

The seed of an episode depends on its case and not on the process that plays it, so what is played
is what one process would play.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from medgym.cases import Case
from medgym.episode import Rules
from medgym.failures import unreadable_of
from medgym.policy import Policy, Sampling
from medgym.rollout import collect
from medgym.rollout.collection import Tally, play
from medgym.rollout.local import LocalBackend
from medgym.rollout.record import HeldEpisodes, held_episodes
from medgym.rollout.sync import drive_each
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Trajectory
from medgym.unreadable import UnreadableCases, as_figures

from .processes import PERIOD, count, everyone, in_order, is_first, share

PART = 256
"""Cases of each process after which what was played is stored."""

CONCURRENCY = 64
"""Episodes that each process plays at once."""


def collect_shared(
    cases: Sequence[Case],
    policy: Policy,
    rules: Rules,
    *,
    group_size: int = 1,
    sampling: Sampling | None = None,
    seed: int = 0,
    out: RunFolder | None = None,
    ordered: bool = False,
) -> Iterator[Trajectory]:
    """As `medgym.collect`, by all processes of the run: all of them must ask, and each gets all.

    With `out`, only the first process writes trajectories; all can read them afterwards.

    Raises:
        RunError: the images of most cases cannot be read.
    """
    if count() == 1:
        yield from collect(
            cases, policy, rules,
            group_size=group_size, sampling=sampling, seed=seed, out=out, ordered=ordered,
        )  # fmt: skip
        return
    held = HeldEpisodes() if out is None else held_episodes(out, cases, rules)
    members = range(group_size)
    missing = [case for case in cases if any((case.id, each) not in held for each in members)]
    everyone(None)  # all have read what is there before the first one writes more
    failed: dict[str, str] = {}
    failures: Counter[str] = Counter()
    unreadable = UnreadableCases(len(cases))
    for start in range(0, len(missing), PART * count()):
        seen: list[Tally] = []
        mine = share(missing[start : start + PART * count()])
        make = partial(
            LocalBackend, policy, rules,
            sampling=sampling, seed=seed, on_messages=None if out is None else out.keep_images,
        )  # fmt: skip
        played = list(
            drive_each(
                play(
                    mine, make,
                    policy=policy.spec, group_size=group_size, seed=seed, concurrency=CONCURRENCY,
                    ordered=True, on_failure=seen.append,
                )
            )
        )  # fmt: skip
        groups = [played[at : at + group_size] for at in range(0, len(played), group_size)]
        shares = everyone((groups, seen[-1].failures if seen else Counter[str]()))
        for _, counted in shares:
            failures += counted
        fresh = [
            each
            for group in in_order([groups for groups, _ in shares])
            for each in group
            if (each.case_id, each.member) not in held
        ]
        for each in fresh:
            unreadable.add(each)  # of all processes, so that all of them stop at once
        failed |= {
            f"{t.case_id}#{t.member}": t.failure
            for t in fresh
            if t.failure is not None and unreadable_of(t.failure) is None
        }
        if out is not None and is_first():
            out.trajectories.write([each for each in fresh if each.failure is None])
            found = as_figures(unreadable.reasons, unreadable.of)
            out.note(failures=dict(failures), failed=failed, unreadable=found)
        yield from fresh
    if out is not None:
        all_read(out)


def shared_folder(path: Path, asked: Mapping[str, Any]) -> RunFolder:
    """A run's folder that all processes read and the first one writes, which makes it if need be.

    All of them must ask.
    """
    if is_first() and not (path / "manifest.json").is_file():
        RunFolder.create(path, asked)
    everyone(None)
    while not (path / "manifest.json").is_file():
        time.sleep(PERIOD)  # see `all_read`
    return RunFolder.open(path)


def all_read(run: RunFolder) -> None:
    """Wait until every process finds in a run's folder what the first one has stored there.

    All of them must ask. The file system of a network may show it to other machines later.
    """
    stored = everyone(len(run.trajectories))[0]
    while len(run.trajectories) < stored:
        time.sleep(PERIOD)
    everyone(None)
