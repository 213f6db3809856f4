"""What preferences do to the policy beside the loss: does it still answer, and does it see?

The loss of pairs rises and falls with a difference. It falls too where both replies of a pair
become less likely, the rejected one faster, until nothing readable is left (likelihood
displacement). So every so many steps, and after the last one, a few training cases are played. A
policy that stops answering stops the run, by name, before a checkpoint is written; so does one that
goes blind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from accelerate.utils import gather_object
from transformers import TrainerCallback

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import RunError
from medgym.local_model import LocalModel
from medgym.rollout.backend import Job
from medgym.seeds import seed_of
from medgym.trajectory import Trajectory

from ..grpo.evaluation import random_state_put_back
from ..grpo.monitor import SightMonitor
from ..grpo.rollouts import StepRollouts
from ..grpo.watch.together import together
from ..recipe.schema import SightTable

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

EPISODES = 32
"""Episodes that are played at each look, of as many cases, by the same seeds."""

EVERY = 10
"""Steps between two looks where `[sight]` asks for none."""

LEAST = 0.5
"""The share of what was answered at the start below which a policy is about to stop answering."""

ANSWERED, AT_START = "watch/answered", "watch/answered_at_start"

LESS = "set dpo.terms.nll to 0.2 or more, lower [dpo] learning_rate"


class Collapsed(RunError):
    """The policy has stopped answering: preferences took the likelihood of all that is readable."""


class WatchedTrainer(Protocol):
    """A trainer whose policy is watched, and that writes down what is seen.

    Attributes:
        learner: the model in training.
        chosen_change: by how many nats a token of the chosen replies is likelier than at the start;
            None if unknown.
        less: what a recipe sets so that the policy keeps answering.
    """

    args: Any
    state: Any
    accelerator: Any
    chosen_change: float | None
    less: str

    @property
    def learner(self) -> Any: ...

    def note(self, figures: Mapping[str, float]) -> None:
        """Log figures with the next step."""


class CollapseCheck:
    """Stops a run whose policy stops answering: at one look without any answer, or at two in a row
    with fewer than half of those at the start.

    Args:
        start: see below. last: the share at the look before, of a run that is resumed.
        less: what a recipe sets against it.

    Attributes:
        start: the share of episodes with an answer before the first step.
    """

    def __init__(self, start: float, last: float | None = None, *, less: str = LESS) -> None:
        self.start = start
        self._less = less
        self._low = last is not None and self._is_low(last)

    def see(self, answered: float, step: int, change: float | None = None) -> None:
        """Take the figure of one look.

        Args:
            answered: the share of episodes with an answer. step: after which.
            change: by how much a token of chosen replies has become likelier, in nats.

        Raises:
            Collapsed: see above.
        """
        was_low, self._low = self._low, self._is_low(answered)
        if self.start and (answered == 0 or (was_low and self._low)):
            fell = ""
            if change is not None and change < 0:
                fell = f", and each token of the chosen replies lost {-change:.2g} nats"
            raise Collapsed(
                f"the policy stops answering: after step {step} {answered:.0%} of its episodes end "
                f"with an answer, {self.start:.0%} did at the start{fell}; fix: "
                f"{self._less}, or take fewer steps"
            )

    def _is_low(self, answered: float) -> bool:
        return answered < LEAST * self.start


class PolicyWatch(TrainerCallback):
    """Plays a few training cases every so many steps of a trainer.

    It stands after what writes down the figures of a step.

    Args:
        trainer: whose policy is watched.
        policy: the model in training, as one that plays. rollouts: by this machinery.
        cases, rules: what is played.
        table: how often, and what counts as blind.
        temperature: at which replies are sampled.

    Attributes:
        state: of the trainer; this and `local`, `pictures`, `rules_now` and `played` are what a
            `SightMonitor` asks for.
    """

    def __init__(
        self,
        trainer: WatchedTrainer,
        policy: LocalModel,
        rollouts: StepRollouts,
        cases: Sequence[Case],
        rules: Rules,
        table: SightTable,
        temperature: float,
    ) -> None:
        self._trainer = trainer
        self.local = policy
        self._rollouts = rollouts
        accelerator = trainer.accelerator
        chosen = list(cases[:EPISODES])
        self._cases = chosen[accelerator.process_index :: accelerator.num_processes]
        self._rules = rules
        self._every = table.every or EVERY
        self._monitor = None
        if table.every:
            self._monitor = SightMonitor(table.model_copy(update={"every": 1}), temperature)
        self._check: CollapseCheck | None = None
        self._answered: float | None = None

    @property
    def state(self) -> "TrainerState":
        found: TrainerState = self._trainer.state
        return found

    @property
    def pictures(self) -> Mapping[str, object]:
        """The images that the last look showed, by content hash."""
        return self._rollouts.pictures

    def rules_now(self) -> Rules:
        """The rules of the episodes: the rubric's weights may follow a schedule."""
        progress = self.state.global_step / max(self.state.max_steps, 1)
        return replace(self._rules, rubric=self._rules.rubric.at(min(progress, 1.0)))

    def played(
        self, cases: Sequence[Case], rules: Rules, *purpose: object
    ) -> list[tuple[Case, Trajectory]]:
        """Episodes of some cases by the policy as it is, the same seeds each time."""
        members: dict[str, int] = {}
        jobs = []
        for case in cases:
            members[case.id] = members.get(case.id, -1) + 1
            jobs.append(Job(case, members[case.id]))
        autocast = self._trainer.accelerator.autocast
        with autocast():
            found = self._rollouts.play(
                jobs,
                self.local,
                rules,
                seed=seed_of(self._trainer.args.seed, "watch", *purpose),
                in_thread=autocast,
            )
        return list(zip(cases, found, strict=True))

    def on_train_begin(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **_: object,
    ) -> None:
        held = [row[ANSWERED] for row in state.log_history if ANSWERED in row]
        start = next((row[AT_START] for row in state.log_history if AT_START in row), None)
        if start is None:
            figures = self._look()
            start = figures.pop(ANSWERED)
            self._trainer.note({AT_START: start} | figures)
        self._check = CollapseCheck(start, held[-1] if held else None, less=self._trainer.less)

    def on_step_end(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **_: object,
    ) -> None:
        if state.global_step % self._every and state.global_step < state.max_steps:
            return
        figures = self._look()
        self._trainer.note(figures)
        self._answered = figures[ANSWERED]

    def on_log(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        logs: dict[str, float] | None = None,
        **_: object,
    ) -> None:
        """Judge the look of this step: its figures are written by now, and no checkpoint is."""
        answered, self._answered = self._answered, None
        if self._check is not None and answered is not None:
            self._check.see(answered, state.global_step, self._trainer.chosen_change)

    def _look(self) -> dict[str, float]:
        """The figures of one look, the same in all processes.

        Raises:
            Blind: the policy does not see.
            RunError: every episode failed.
        """
        accelerator = self._trainer.accelerator

        def look() -> tuple[dict[str, float], list[bool]]:
            self._rollouts.begin()
            pairs = self.played(self._cases, self.rules_now()) if self._cases else []
            whole = [(case, t) for case, t in pairs if t.failure is None]
            figures = {}
            if whole and self._monitor is not None:
                figures = dict(self._monitor(self, whole))
            return figures, [t.answer is not None for _, t in whole]

        training = self._trainer.learner.training
        with random_state_put_back():
            found = together(accelerator, look)
        self._trainer.learner.train(training)
        several = accelerator.num_processes > 1
        everyone = gather_object([found]) if several else [found]
        answers = [each for _, answered in everyone for each in answered]
        if not answers:
            raise RunError(
                "every episode of the watch failed; fix: what failed, then resume from the last "
                "checkpoint with --resume"
            )
        names = sorted({name for figures, _ in everyone for name in figures})
        means = {}
        for name in names:
            values = [figures[name] for figures, _ in everyone if name in figures]
            means[name] = sum(values) / len(values)
        return means | {ANSWERED: sum(answers) / len(answers)}
