"""What every step of training is held to: its content, who sampled it, how near the sampler was.

Nothing here changes what is learned. What is wrong stops all processes at once, before the weights
take a step by it, so the last checkpoint is whole and from before.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import torch
from PIL import Image

from medgym.policy import Policy
from medgym.trajectory import Trajectory

from ..batch import BatchRow, check_images
from .content import hold_content
from .distance import Apart, Closeness, DistanceCheck, DistanceMeter, same_arithmetic
from .together import together

if TYPE_CHECKING:
    from accelerate import Accelerator


class Publisher(Protocol):
    """Keeps an engine in step with the model in training.

    Attributes:
        handed_out: the step whose weights the engine was given last, and their version.
    """

    @property
    def handed_out(self) -> tuple[int, str]:
        """See above."""

    def player(self, model: Any, step: int) -> Policy:
        """The policy that plays the episodes of a step."""

    def judged(self, model: Any, step: int) -> AbstractContextManager[Policy]:
        """The policy of the model's present weights, which is evaluated."""

    def differs(self, model: Any) -> bool:
        """Whether what was handed out last is not what the model holds now."""


class StepWatch:
    """Watches one step of `LookingTrainer` after another.

    Args:
        accelerator: of the trainer.
        image_processor: of the model.
        placeholder: the token that stands for one image feature.
    """

    def __init__(self, accelerator: "Accelerator", image_processor: Any, placeholder: int) -> None:
        self._accelerator = accelerator
        self._image_processor = image_processor
        self._placeholder = placeholder
        self._meter = DistanceMeter(accelerator)
        self._check = DistanceCheck(warns=accelerator.is_main_process)
        self._step = 0
        self._closeness: Closeness = "old"
        self._rows: tuple[Sequence[Trajectory], Sequence[BatchRow], Sequence[bool]] = ((), (), ())

    @property
    def trajectories(self) -> Sequence[Trajectory]:
        """What this step's rows are made from."""
        return self._rows[0]

    def sampling(
        self, step: int, policy: Policy, model: torch.nn.Module, handed_out: int | None
    ) -> None:
        """A step begins, which `policy` samples.

        Args:
            model: the one in training.
            handed_out: the step whose weights the policy has, None where nobody knows.
        """
        self._step, self._closeness = step, "old"
        if handed_out == step:
            sampler: Any = getattr(policy, "policy", policy)  # the model's, below its adapter
            exact = (
                policy.local_model
                and self._accelerator.mixed_precision in (None, "no")
                and same_arithmetic(sampler.model, model)
            )
            self._closeness = "same" if exact else "fresh"

    def given(
        self, trajectories: Sequence[Trajectory], rows: Sequence[BatchRow], silent: Sequence[bool]
    ) -> None:
        """TRL is given these rows; `silent` says which of them train nothing."""
        self._rows = trajectories, rows, silent

    def hold(
        self,
        made: Mapping[str, Any],
        pictures: Mapping[str, Image.Image],
        model: torch.nn.Module,
        publisher: Publisher | None,
    ) -> None:
        """Insist that what TRL made of the rows is what was sampled, by whom it should be.

        Args:
            made: what `_generate_and_score_completions` returned.
            pictures: the images that were shown, by content hash.

        Raises:
            LostImages, ExchangedImages, InvariantError: its content is another one.
            Apart: other weights sampled than those that were handed out.
        """

        def check() -> None:
            trajectories, rows, silent = self._rows
            merge = getattr(self._image_processor, "merge_size", 1) ** 2
            check_images(made, rows, self._placeholder, merge)
            hold_content(made, trajectories, rows, silent, pictures, self._image_processor)
            if publisher is not None:
                self._hold_version(model, publisher)

        together(self._accelerator, check)

    def _hold_version(self, model: torch.nn.Module, publisher: Publisher) -> None:
        step, version = publisher.handed_out
        for trajectory in self._rows[0]:
            if trajectory.failure is None and trajectory.version != version:
                played, given = trajectory.version or "the base", version or "the base"
                raise Apart(
                    f"{played} played in step {self._step + 1} though {given} was handed out; "
                    "fix: see which adapters the engine holds under which names"
                )
        if step == self._step and publisher.differs(model):
            raise Apart(
                f"the adapter {version} that the engine was given is not the one in training; "
                "fix: see what wrote it into the run's folder, then resume from the last "
                "checkpoint with --resume"
            )

    def learned(
        self, step: int, inputs: Mapping[str, Any], trainers: torch.Tensor
    ) -> Mapping[str, float]:
        """A loss was taken; the figures of a step after its last one.

        Args:
            step: so many were made before this one.
            inputs: what TRL took the loss of.
            trainers: the log-probabilities that it was made of. Once the weights have moved since
                the step was sampled, TRL's own from before they did are judged in their place.

        Raises:
            Apart: the sampler is not the model in training.
        """
        self._meter.add(inputs, trainers if step == self._step else inputs["old_per_token_logps"])
        if not self._accelerator.sync_gradients:
            return {}
        distance = self._meter.take()
        self._check.see(distance, step + 1, self._closeness)
        return distance.figures()
