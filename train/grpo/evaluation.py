"""Held-out cases on which the policy is judged while it trains (`[judge]`).

When to evaluate, which checkpoint was the best and when to stop is the Trainer's own business. Here
is what it evaluates: whole episodes of held-out cases, one of each, sampled as in training and with
the same seeds each time. Nothing of training changes by being evaluated: the random state is put
back, and neither the monitor nor the selection of groups sees these episodes.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import RunError
from medgym.metrics.looking import metrics as looking_metrics
from medgym.metrics.rate import Rate
from medgym.rollout.backend import Job
from medgym.trajectory import Trajectory

from ..recipe.evaluating import PREFIX
from ..recipe.settings import Keys
from .watch.together import together


@dataclass(frozen=True)
class HeldOut:
    """Cases that are judged between the steps of a training.

    Attributes:
        cases, rules: what is played.
        seed: of the replies; the same at each evaluation, so that two differ by the policy alone.
        keep: receives the step and the episodes, in the order of the cases, in the first process.
    """

    cases: Sequence[Case]
    rules: Rules
    seed: int
    keep: Callable[[int, Sequence[Trajectory]], None] = lambda *_: None


class EvaluatesEpisodes:
    """Mixed into a `GRPOTrainer`: its evaluation plays episodes of held-out cases.

    No loss is computed on them, for it says nothing of whether answers are right.
    """

    held_out: HeldOut | None = None
    _evaluated: dict[int, Trajectory]

    def evaluate(self: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate; what is trained afterwards is the same as without it."""
        tables, self.log_completions = self.log_completions, False  # which are of the last step
        try:
            with random_state_put_back():
                found: dict[str, float] = super().evaluate(*args, **kwargs)  # type: ignore[misc]
        finally:
            self.log_completions = tables
        return found

    def evaluation_loop(self: Any, *args: Any, **kwargs: Any) -> Any:
        """The Trainer's loop over held-out cases, and their figures.

        Raises:
            RunError: every episode failed.
        """
        if self.held_out is None:
            return super().evaluation_loop(*args, **kwargs)  # type: ignore[misc]
        self._evaluated = {}
        policy = nullcontext(self._policy)
        if self.publisher is not None:
            model = self.accelerator.unwrap_model(self.model)
            policy = self.publisher.judged(model, self.state.global_step)
        with policy as self._evaluating:
            self._evaluating.resume()  # an engine lends out its memory while the model learns
            output = super().evaluation_loop(*args, **kwargs)  # type: ignore[misc]
        self._policy.pause()  # last: whatever an engine is told wakes it
        self._rollouts.begin()  # its images are no longer needed
        several = self.accelerator.num_processes > 1
        mine = list(self._evaluated.items())
        # The last batch of several processes is filled up with cases from the first one.
        found = dict(gather_object(mine) if several else mine)
        played = [found[place] for place in sorted(found)]
        if self.accelerator.is_main_process:
            self.held_out.keep(self.state.global_step, played)
        figures = _figures(
            self.held_out, [(self.held_out.cases[p], found[p]) for p in sorted(found)]
        )
        output.metrics.update({f"{PREFIX}_{name}": value for name, value in figures.items()})
        return output

    def prediction_step(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Play the cases of one batch."""
        if self.held_out is None:
            return super().prediction_step(model, inputs, *args, **kwargs)  # type: ignore[misc]
        asked = dict.fromkeys(int(row["prompt"][-1]["content"]) for row in inputs)
        places = [place for place in asked if place not in self._evaluated]

        def play() -> list[Trajectory]:
            if not places:
                return []
            jobs = [Job(self.held_out.cases[place], 0) for place in places]
            self._rollouts.begin()
            policy, rules, seed = self._evaluating, self.held_out.rules, self.held_out.seed
            autocast = self.accelerator.autocast
            with autocast():
                found: list[Trajectory] = self._rollouts.play(
                    jobs, policy, rules, seed=seed, in_thread=autocast
                )
            return found

        self._evaluated |= dict(zip(places, together(self.accelerator, play), strict=True))
        return None, None, None


def _figures(held_out: HeldOut, played: Sequence[tuple[Case, Trajectory]]) -> Keys:
    """The figures of an evaluation; episodes that failed are counted and left out of the others.

    Raises:
        RunError: every episode failed.
    """
    whole = [(case, trajectory) for case, trajectory in played if trajectory.failure is None]
    if not whole:
        raise RunError(
            f"every held-out episode failed ({played[0][1].failure}); fix: what failed, then "
            "resume from the last checkpoint with --resume"
        )
    rate = Rate.of(trajectory.correct for _, trajectory in whole)
    rewards = [trajectory.reward for _, trajectory in whole if trajectory.reward is not None]
    return {
        "accuracy": rate.value,
        "accuracy_low": rate.low,
        "accuracy_high": rate.high,
        "cases": float(rate.n),
        "failures": float(len(played) - len(whole)),
        "reward": fmean(rewards),
        **looking_metrics(whole, [tool.name for tool in held_out.rules.tools]),
    }


@contextmanager
def random_state_put_back() -> Iterator[None]:
    """Leave the random states of torch, NumPy and Python as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
