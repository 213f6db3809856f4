"""GRPO on medgym's own episodes, optimised by TRL.

`LookingTrainer` replaces one thing of TRL's `GRPOTrainer`: generation. Completions are whole
episodes played through `medgym.rollout`, so that they are token-exact, multi-turn and multi-image;
losses, advantages, clipping, logging, checkpoints are TRL's. The method replaced, `_generate`, is
private: the minor version of TRL is pinned and `SIGNATURE` is checked before anything runs.

An episode whose machinery failed for good trains nothing: its whole group is left out, without a
reward and without a gradient. Every step checks that each image which was shown reaches the model.
"""

import inspect
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
import trl
from accelerate.utils import gather_object
from trl import GRPOConfig, GRPOTrainer

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import RunError, UserError
from medgym.local_model import local_model
from medgym.metrics.looking import metrics as looking_metrics
from medgym.metrics.recorded_tokens import hold_images
from medgym.policy import Policy, Sampling
from medgym.rollout.backend import Job
from medgym.rollout.collection import BackendName
from medgym.seeds import seed_of
from medgym.storage.trajectories import ImageStore
from medgym.tool_form import ToolFormName
from medgym.trajectory import Trajectory

from ..data.mixture import SourceOf, accuracies
from ..models.checkpoint import WholeCheckpoints
from ..models.precision import LearnsInFloat32
from ..run.processes import to_first
from .batch import BatchRow, as_trl, filled, inputs_of, look, reward_functions, rows_of, shortest
from .credit import CreditsTurns
from .dynamic_sampling import Group, Play
from .evaluation import EvaluatesEpisodes, HeldOut
from .logs.tables import columns
from .logs.timing import Timed
from .rollouts import GenerationPlace, StepRollouts
from .unreadable import LeavesOutUnreadable
from .watch.step import Publisher, StepWatch
from .watch.together import together

if TYPE_CHECKING:
    from transformers import ProcessorMixin

SUPPORTED_TRL = "1.16"
SIGNATURE = "(self, prompts: list)"

OnStep = Callable[[int, Sequence[tuple[Case, Trajectory]]], None]
Select = Callable[[int, list[Group], Play], list[Group]]
Monitor = Callable[["LookingTrainer", Sequence[tuple[Case, Trajectory]]], Mapping[str, float]]
"""Gives figures of what a step played; it may stop the run."""


def check_trl() -> None:
    """Refuse a TRL whose private seam is not the one that this module replaces."""
    seam = str(inspect.signature(GRPOTrainer._generate))
    if not trl.__version__.startswith(SUPPORTED_TRL + ".") or seam != SIGNATURE:
        raise UserError(
            f"trl {trl.__version__} is not supported; fix: pip install 'trl=={SUPPORTED_TRL}.*'"
        )


class LookingTrainer(
    CreditsTurns,
    LeavesOutUnreadable,
    Timed,
    EvaluatesEpisodes,
    LearnsInFloat32,
    WholeCheckpoints,
    GRPOTrainer,
):
    """TRL's `GRPOTrainer`, whose completions are episodes.

    Args:
        cases: what is trained on; a row of the data set names one by its index.
        rules: tools, rubric and budgets of an episode. A scheduled rubric is followed.
        sampling: how replies are sampled; the temperature must be the config's.
        policy: the engine that samples, where the model in training does not: its samples are
            corrected for by TRL's importance sampling. By default the model samples, in process.
        publisher: hands the adapter in training to that engine.
        backend, workers, ray_address: where episodes are played, as `collect` takes them.
        tool_form: how the model is offered tools and calls them.
        overlong: whether an episode that ran out of its budget keeps its reward, or is masked: it
            is then neither punished nor counted in its group's baseline.
        images: where the images that were seen are kept, if they are to be kept.
        select: may exchange groups for others; receives the step, the groups that did not fail and
            how to play more, and returns as many groups as it received.
        monitor: gives figures of what was played, which are logged; it may stop the run.
        on_step: receives the step and what was played and is trained on, after every generation.
        before_checkpoint: called with the step before each checkpoint is written.
        held_out: what the policy is judged on where `args` ask for evaluation.
        args, model, processing_class, peft_config, callbacks: as TRL's.
    """

    _someone_has_none = False
    source_of: SourceOf | None = None  # where the figures of each source of cases are logged

    def __init__(
        self,
        *,
        cases: Sequence[Case],
        rules: Rules,
        sampling: Sampling,
        args: GRPOConfig,
        policy: Policy | None = None,
        publisher: Publisher | None = None,
        backend: BackendName = "local",
        workers: int = 2,
        ray_address: str | None = None,
        tool_form: ToolFormName = "text",
        overlong: Literal["reward", "mask"] = "reward",
        images: ImageStore | None = None,
        select: Select | None = None,
        monitor: Monitor | None = None,
        on_step: OnStep | None = None,
        before_checkpoint: Callable[[int], None] | None = None,
        held_out: HeldOut | None = None,
        **kwargs: Any,
    ) -> None:
        check_trl()
        from datasets import Dataset

        functions, weights = reward_functions(rules)
        args.reward_weights = weights

        def rows_for(cases: Sequence[Case]) -> Dataset:
            named = [[{"role": "user", "content": str(index)}] for index in range(len(cases))]
            return Dataset.from_list([{"prompt": prompt} for prompt in named])

        if held_out is not None:
            kwargs["eval_dataset"] = rows_for(held_out.cases)
        super().__init__(args=args, train_dataset=rows_for(cases), reward_funcs=functions, **kwargs)
        self.held_out = held_out
        self._before_checkpoint = before_checkpoint
        # Set afterwards: the chat templates of Gemma 3 and InternVL have no place for tools, which
        # matters to TRL's own rollouts and not to ours.
        self.tools = [look]
        # TRL's name for: the samples are another engine's, and are corrected for.
        self.use_vllm = policy is not None
        self._cases = cases
        self._rules = rules
        self.publisher = publisher
        self._overlong = overlong
        self._select = select
        self._monitor = monitor
        self._on_step = on_step
        self._rows: list[BatchRow] = []
        self._place = GenerationPlace()
        self._rollouts = StepRollouts(
            sampling, images=images, backend=backend, workers=workers, ray_address=ray_address
        )
        model = self.accelerator.unwrap_model(self.model)
        self.local = local_model(
            model,
            cast("ProcessorMixin", self.processing_class),
            batch_size=max(args.per_device_train_batch_size, 64),
            patience=None,
            tool_form=tool_form,
        )
        self._policy = policy if policy is not None else self.local
        # TRL knows two names of placeholders; every family has one.
        self._placeholder = self._image_pad_token_id = self.local.vision_token_ids[0]
        self._taken = inputs_of(model)
        image_processor = cast("Any", self.processing_class).image_processor
        self._watch = StepWatch(self.accelerator, image_processor, self._placeholder)
        logging.getLogger("trl.trainer.grpo_trainer").addFilter(_is_news)

    @property
    def pictures(self) -> Mapping[str, Any]:
        """The images that this step's episodes showed, by content hash."""
        return self._rollouts.pictures

    def close(self) -> None:
        """Leave the Ray cluster that was started for the rollouts, if any."""
        self._rollouts.close()

    def played(self, cases: Sequence[Case], rules: Rules, *purpose: object) -> Group:
        """Roll out some cases by the present policy, each as often as it is given.

        `purpose`, the step and the generation's place in it fix the seeds. Raises as
        `StepRollouts.play`.
        """
        members: Counter[str] = Counter()
        jobs = []
        for case in cases:
            jobs.append(Job(case, members[case.id]))
            members[case.id] += 1
        step, process = self.state.global_step, self.accelerator.process_index
        seed = seed_of(self.args.seed, step, process, *purpose, *self._place.within_step)
        autocast = self.accelerator.autocast  # in process, the sampler computes as the trainer does
        with self.clock.playing(), autocast():
            trajectories = self._rollouts.play(
                jobs, self._policy, rules, seed=seed, in_thread=autocast
            )
        return list(zip(cases, trajectories, strict=True))

    def rules_now(self) -> Rules:
        """The rules of this step's episodes: the rubric's weights may follow a schedule."""
        progress = self.state.global_step / max(self.state.max_steps, 1)
        return replace(self._rules, rubric=self._rules.rubric.at(min(progress, 1.0)))

    def _generate(self, prompts: list) -> Any:  # type: ignore[type-arg]
        self._rollouts.begin()
        self._policy.resume()
        step = self.state.global_step
        if self._mode == "train":
            self._place.begin(step)
        if self.publisher is not None:
            self._policy = self.publisher.player(self.accelerator.unwrap_model(self.model), step)
        if self._mode == "train":
            trained = self.accelerator.unwrap_model(self.model)
            self._watch.sampling(step, self._policy, trained, self._handed_out())
        rules = self.rules_now()
        self.reward_weights = torch.tensor([term.weight for term in rules.rubric.terms])
        pairs = self.played([self._cases[int(p[-1]["content"])] for p in prompts], rules)
        pairs = self.readable(pairs, rules)
        gone = self._left_out([trajectory for _, trajectory in pairs])
        if self._select is not None:
            pairs = self._selected(pairs, gone, rules)
        together(self.accelerator, lambda: hold_images(pairs))
        self._log_episodes(pairs, gone)
        everyone = to_first(pairs)
        if self._on_step is not None and self.accelerator.is_main_process:
            self._on_step(step, everyone)
        if self._monitor is not None:
            whole = [pair for pair, is_gone in zip(pairs, gone, strict=True) if not is_gone]
            monitor = self._monitor
            with self.clock.watching(), self.accelerator.autocast():
                figures = together(self.accelerator, lambda: monitor(self, whole))
            self._log(figures)
        trajectories = [trajectory for _, trajectory in pairs]
        silent = [
            is_gone or (self._overlong == "mask" and trajectory.truncated)
            for is_gone, trajectory in zip(gone, trajectories, strict=True)
        ]
        self.credit_turns(pairs, silent, rules)
        rows = together(self.accelerator, lambda: rows_of(trajectories, self.pictures))
        stand_in = shortest(rows)
        if self._someone_has_none:
            stand_in = next(row for row in gather_object([stand_in]) if row)
        self._rows = filled(rows, stand_in, silent)
        self._watch.given(trajectories, self._rows, silent)
        self._log_lengths()
        if self.log_completions:
            for column, values in columns(pairs).items():
                self._log_completion_extra(column, values)
        for prompt, trajectory in zip(prompts, trajectories, strict=True):  # what TRL's tables show
            text = trajectory.nodes[0].text if trajectory.nodes else trajectory.case_id
            prompt[:] = [{"role": "user", "content": text}]
        terms = [
            None if is_silent else trajectory.terms
            for is_silent, trajectory in zip(silent, trajectories, strict=True)
        ]
        self._policy.pause()  # the memory of an engine is needed to learn
        return as_trl(self._rows, {"terms": terms})

    def _left_out(self, trajectories: Sequence[Trajectory]) -> list[bool]:
        """Which rows belong to a group that lost a member for good, in whatever process.

        Raises:
            RunError: every group did.
        """
        counts = {"train": self.num_generations, "eval": self.num_generations_eval}
        size = int(counts[self._mode] or 1)
        lost = [trajectory.failure is not None for trajectory in trajectories]
        everyone = self.accelerator.gather(torch.tensor(lost, device=self.accelerator.device))
        groups = everyone.view(-1, size).any(dim=1)
        failures = self._rollouts.tally.failures.items()
        self._log({f"failures/{boundary}": float(count) for boundary, count in failures})
        self._metrics[self._mode]["failures/left_out"].append(groups.float().mean().item())
        if bool(groups.all()):
            reasons = Counter(t.failure for t in trajectories if t.failure is not None)
            reason = reasons.most_common(1)[0][0] if reasons else "see the other processes"
            raise RunError(
                f"every group of step {self.state.global_step + 1} failed ({reason}); fix: what "
                "failed, then resume from the last checkpoint with --resume"
            )
        processes = everyone.view(self.accelerator.num_processes, -1)
        self._someone_has_none = bool(processes.all(dim=1).any())
        start = self.accelerator.process_index * len(trajectories)
        rows = groups.repeat_interleave(size)[start : start + len(trajectories)]
        return [bool(each) for each in rows]

    def _selected(self, pairs: Group, gone: Sequence[bool], rules: Rules) -> Group:
        """The pairs with some groups exchanged for others; groups that failed stay where they are.

        Raises:
            UserError: groups are spread over processes.
        """
        assert self._select is not None
        size = int(self.num_generations or 1)
        if len(pairs) % size:
            raise UserError(
                "groups that are spread over processes cannot be selected; fix: make "
                "per_device_train_batch_size a multiple of num_generations"
            )
        rounds = 0

        def play(cases: Sequence[Case]) -> list[Group]:
            nonlocal rounds
            rounds += 1
            more = self.played([c for c in cases for _ in range(size)], rules, "further", rounds)
            return [more[at : at + size] for at in range(0, len(more), size)]

        starts = [at for at in range(0, len(pairs), size) if not gone[at]]
        chosen = self._select(
            self.state.global_step, [pairs[at : at + size] for at in starts], play
        )
        made = list(pairs)
        for at, group in zip(starts, chosen, strict=True):
            made[at : at + size] = group
        return made

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        made = super()._generate_and_score_completions(inputs)
        self._watch.hold(
            made, self.pictures, self.accelerator.unwrap_model(self.model), self.publisher
        )
        return made

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self._before_checkpoint is not None:
            self._before_checkpoint(self.state.global_step)
        super()._save_checkpoint(model, trial)

    def _handed_out(self) -> int | None:
        """The step whose weights sample this one, None where nobody knows."""
        if self.publisher is not None:
            return self.publisher.handed_out[0]
        return self.state.global_step if self._policy is self.local else None

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        """TRL passes all that an image processor returns; a model may take less of it."""
        taken = {name: value for name, value in kwargs.items() if name in self._taken}
        found = super()._get_per_token_logps_and_entropies(*args, **taken)
        self._logps = found[0].detach()
        return found

    def _compute_loss(self, model: Any, inputs: Any) -> Any:
        """TRL's loss, and the distance of the sampler in the pass that it is taken of."""
        plain: Any = super()
        loss = plain._compute_loss(model, inputs)
        if self._mode == "train":
            step = self.state.global_step
            for name, value in self._watch.learned(step, inputs, self._logps).items():
                self._metrics["train"][name].append(value)
        return loss

    @property
    def _mode(self) -> str:
        return "train" if self.accelerator.unwrap_model(self.model).training else "eval"

    def _log(self, figures: Mapping[str, float]) -> None:
        """Log figures, each the mean over the processes that have it."""
        several = self.accelerator.num_processes > 1
        everyone = gather_object([dict(figures)]) if several else [figures]
        for name in sorted({name for each in everyone for name in each}):
            values = [each[name] for each in everyone if name in each]
            self._metrics[self._mode][name].append(sum(values) / len(values))

    def _log_episodes(self, pairs: Group, gone: Sequence[bool]) -> None:
        whole = [pair for pair, is_gone in zip(pairs, gone, strict=True) if not is_gone]
        of: SourceOf = self.source_of or (lambda _: None)
        answers = [(of(case), trajectory.correct) for case, trajectory in whole]
        if self.accelerator.num_processes > 1:  # each may have another number of a source's cases
            answers = gather_object(answers)
        figures = accuracies(answers)
        if whole:
            figures |= looking_metrics(whole, [tool.name for tool in self._rules.tools])
        self._log(figures)

    def _log_lengths(self) -> None:
        mode, device = self._mode, self.accelerator.device
        sampled = torch.tensor([float(sum(row.mask)) for row in self._rows], device=device)
        lengths = self.accelerator.gather(sampled)
        self.clock.sampled += int(lengths.sum())
        total = float(sum(len(row.prompt) + len(row.completion) for row in self._rows))
        if mode == "train":
            tokens = self.accelerator.gather(torch.tensor(total, device=device)).sum()
            self.state.num_input_tokens_seen += int(tokens.item())
        self._metrics[mode]["num_tokens"] = [self.state.num_input_tokens_seen]
        self._metrics[mode]["completions/mean_length"].append(lengths.mean().item())
        self._metrics[mode]["completions/min_length"].append(lengths.min().item())
        self._metrics[mode]["completions/max_length"].append(lengths.max().item())


def _is_news(record: logging.LogRecord) -> bool:
    """TRL warns at length about rows without a reward; here they are left out on purpose."""
    return "All reward functions returned None" not in record.getMessage()
