"""Credit by turns: each turn of an episode has an advantage of its own (`[grpo] credit = "turn"`).

GRPO gives every token of an episode the advantage of the whole. Here the episodes of a step are
branched after each of their turns and played on, so that each state has a value by Monte Carlo
(VinePPO, arXiv 2410.01679), and the tokens of turn t have

    (V(after turn t) - V(before it)) / (std + 1e-4)

`medgym.metrics.credit` says what V is. The scale is that of TRL for whole episodes: std is the
standard deviation of the rewards, over all that was played of the case (`scale_rewards = "group"`),
over the whole step (`"batch"`), or nothing is divided (`"none"`). It counts the branches too: where
all members of a group earned the same, their turns may still differ. An episode of a single turn
has the advantage that it has without credit by turns.

The branches train nothing; they are played by the policy that played the step.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object

from medgym.episode import Rules
from medgym.errors import UserError
from medgym.metrics.credit import Tree
from medgym.metrics.recorded_tokens import read_nodes
from medgym.rollout.backend import Job
from medgym.rollout.branching import Resume, was_late
from medgym.seeds import seed_of
from medgym.trajectory import Trajectory

from .settings import BRANCHES

if TYPE_CHECKING:
    from .dynamic_sampling import Group

EPS = 1e-4
"""What TRL adds to a standard deviation."""


def credit_branches(keys: Mapping[str, Any]) -> int:
    """How many branches `[grpo]` asks for from each state; 0 for credit by whole episodes."""
    return int(keys.get("credit_branches", BRANCHES)) if keys.get("credit") == "turn" else 0


class CreditsTurns:
    """Mixed into a `GRPOTrainer` whose completions are episodes.

    Attributes:
        credit_branches: as the function of that name gives it.
    """

    credit_branches = 0
    _turns: Sequence[Sequence[float]] | None = None

    def credit_turns(self: Any, pairs: "Group", silent: Sequence[bool], rules: Rules) -> None:
        """Play the branches of a step's episodes, and keep what each turn was worth.

        Args:
            silent: which episodes train nothing. They count in no value.

        Raises:
            UserError: groups are spread over processes.
        """
        self._turns = None
        if not self.credit_branches or self._mode != "train":
            return
        size = int(self.num_generations or 1)
        if len(pairs) % size:
            raise UserError(
                'groups that are spread over processes have no credit = "turn"; fix: make '
                "per_device_train_batch_size a multiple of num_generations"
            )
        places = [place for place, is_silent in enumerate(silent) if not is_silent]
        groups = [
            [place for place in places if at <= place < at + size]
            for at in range(0, len(pairs), size)
        ]
        jobs, owners = jobs_of(groups, pairs, self.credit_branches)
        step, process = self.state.global_step, self.accelerator.process_index
        seed = seed_of(self.args.seed, step, process, "credit", *self._place.within_step)
        autocast = self.accelerator.autocast
        with self.clock.playing(), autocast():
            played: list[Trajectory] = (
                self._rollouts.play(jobs, self._policy, rules, seed=seed, in_thread=autocast)
                if jobs
                else []
            )
        masks = self._overlong == "mask"
        trees = []
        for number, group in enumerate(groups):
            branches = [each for each, owner in zip(played, owners, strict=True) if owner == number]
            counted = [not (masks and each.truncated) for each in branches]
            trees.append(Tree([*_of(group, pairs), *branches], [True] * len(group) + counted))
        self._turns = by_turn(trees, groups, len(pairs), self.scale_rewards, gather_object)
        values = [abs(value) for turns in self._turns for value in turns]
        lost = sum(each.failure is not None for each in played)
        self._log(
            {
                "credit/branches": float(len(played)),
                "credit/failed": float(lost),
                "credit/advantage": fmean(values) if values else 0.0,
            }
        )

    def _generate_and_score_completions(self: Any, inputs: Any) -> Any:
        made = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        if self._turns is not None:
            trajectories = self._watch.trajectories
            spread = by_token(trajectories, self._turns, made["completion_ids"].shape[1])
            made["advantages"] = spread.to(made["advantages"])
            self._turns = None
        return made


def _of(group: Sequence[int], pairs: "Group") -> list[Trajectory]:
    return [pairs[place][1] for place in group]


def jobs_of(
    groups: Sequence[Sequence[int]], pairs: "Group", branches: int
) -> tuple[list[Job], list[int]]:
    """What is played for the values of all states of some groups, and the group that each is of.

    A state that several members of a group share is played from once. One of an episode in which a
    tool was late is not: what it replied may not come again.
    """
    members: Counter[str] = Counter()
    jobs, owners = [], []
    for number, group in enumerate(groups):
        for which, turn in Tree(_of(group, pairs)).states():
            case, trajectory = pairs[group[which]]
            if was_late(trajectory.faults):
                continue
            resume = Resume.of(trajectory, turn)
            for _ in range(branches):
                jobs.append(Job(case, members[case.id], resume))
                owners.append(number)
                members[case.id] += 1
    return jobs, owners


def by_turn(
    trees: Sequence[Tree],
    groups: Sequence[Sequence[int]],
    count: int,
    scale: str,
    gather: Any = list,
) -> list[list[float]]:
    """The scaled advantages of the turns of `count` episodes; nothing for those in no group.

    Args:
        trees: of each group: its members first, in their order, then their branches.
        scale: TRL's `scale_rewards`.
        gather: brings a list of rewards together from all processes.
    """
    earned = [[reward for reward in tree.rewards if reward is not None] for tree in trees]
    if scale == "batch":
        everyone = gather([reward for rewards in earned for reward in rewards])
        divisors = [_spread(everyone) + EPS] * len(trees)
    else:
        divisors = [1.0 if scale == "none" else _spread(rewards) + EPS for rewards in earned]
    turns: list[list[float]] = [[] for _ in range(count)]
    for tree, group, divisor in zip(trees, groups, divisors, strict=True):
        for number, place in enumerate(group):
            turns[place] = [(row.advantage or 0.0) / divisor for row in tree.turns(number)]
    return turns


def _spread(rewards: Sequence[float]) -> float:
    return stdev(rewards) if len(rewards) > 1 else 0.0


def by_token(
    trajectories: Sequence[Trajectory], turns: Sequence[Sequence[float]], width: int
) -> torch.Tensor:
    """The advantages of all tokens of some completions: (rows, width), 0 where none is trained."""
    rows = torch.zeros(len(trajectories), width)
    for row, trajectory, values in zip(rows, trajectories, turns, strict=True):
        if not values:
            continue
        at, left = 0, iter(values)
        for node in read_nodes(trajectory)[1:]:
            if node.role == "assistant":
                row[at : at + len(node.token_ids)] = next(left)
            at += len(node.token_ids)
    return rows
