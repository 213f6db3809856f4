"""GRPO on medgym's own episodes, optimised by TRL.

`LookingTrainer` replaces one thing of TRL's `GRPOTrainer`: generation. Completions are whole
episodes played through `medgym.rollout`, so that they are token-exact, multi-turn and multi-image;
losses, advantages, clipping, logging, checkpoints are TRL's. The method replaced, `_generate`, is
private: the minor version of TRL is pinned and `SIGNATURE` is checked before anything runs.
"""

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import trl
from trl import GRPOConfig, GRPOTrainer

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.images import open_image
from medgym.looking import hit
from medgym.policy import Policy, Sampling
from medgym.registry import load
from medgym.rollout import rollout
from medgym.seeds import seed_of
from medgym.store import ImageStore
from medgym.trajectory import Trajectory, validate

SUPPORTED_TRL = "1.16"
SIGNATURE = "(self, prompts: list)"

OnStep = Callable[[int, Sequence[tuple[Case, Trajectory]]], None]


def check_trl() -> None:
    """Refuse a TRL whose private seam is not the one that this module replaces."""
    seam = str(inspect.signature(GRPOTrainer._generate))
    if not trl.__version__.startswith(SUPPORTED_TRL + ".") or seam != SIGNATURE:
        raise UserError(
            f"trl {trl.__version__} is not supported; mend: pip install 'trl=={SUPPORTED_TRL}.*'"
        )


def look(view: int) -> str:
    """Stands in TRL's list of tools and is never called.

    TRL encodes images of later turns only where it knows of at least one tool; the tools that are
    really used belong to the episode.

    Args:
        view: number of a view.

    Returns:
        Nothing of use.
    """
    return str(view)


def reward_functions(rules: Rules) -> tuple[list[Any], list[float]]:
    """The rubric's terms as TRL's reward functions, and their weights.

    TRL then logs every term by its own name. A trajectory without terms earns None, which takes it
    out of its group's baseline.
    """

    def of(name: str) -> Callable[..., list[float | None]]:
        def term(terms: Sequence[dict[str, float] | None], **_: Any) -> list[float | None]:
            return [None if given is None else given[name] for given in terms]

        term.__name__ = name
        return term

    functions = [of(term.name) for term in rules.rubric.terms]
    return functions, [term.weight for term in rules.rubric.terms]


class LookingTrainer(GRPOTrainer):
    """TRL's `GRPOTrainer`, whose completions are episodes.

    Args:
        cases: what is trained on; a row of the data set names one by its index.
        rules: tools, rubric and budgets of an episode.
        policy: samples with the model in training; it is rebuilt around the trainer's model.
        sampling: how replies are drawn; the temperature must be the config's.
        images: where the images that were seen are kept, if they are to be kept.
        on_step: receives the step and what was played, after every generation.
        args, model, processing_class, peft_config, callbacks: as TRL's.
    """

    def __init__(
        self,
        *,
        cases: Sequence[Case],
        rules: Rules,
        sampling: Sampling,
        args: GRPOConfig,
        images: ImageStore | None = None,
        on_step: OnStep | None = None,
        **kwargs: Any,
    ) -> None:
        check_trl()
        from datasets import Dataset

        functions, weights = reward_functions(rules)
        args.reward_weights = weights
        rows = [
            {"prompt": [{"role": "user", "content": str(index)}]} for index in range(len(cases))
        ]
        super().__init__(
            args=args,
            train_dataset=Dataset.from_list(rows),
            reward_funcs=functions,
            tools=[look],
            **kwargs,
        )
        self._cases = cases
        self._rules = rules
        self._sampling = sampling
        self._images = images
        self._on_step = on_step
        model = self.accelerator.unwrap_model(self.model)
        self._policy: Policy = load("policies", "hf")(
            model,
            self.processing_class,
            batch_size=max(args.per_device_train_batch_size, 64),
            patience=None,
        )

    @property
    def _mode(self) -> str:
        return "train" if self.accelerator.unwrap_model(self.model).training else "eval"

    def _generate(self, prompts: list) -> Any:  # type: ignore[type-arg]
        indices = [int(prompt[-1]["content"]) for prompt in prompts]
        cases = [self._cases[index] for index in indices]
        trajectories = asyncio.run(self._play(cases))
        for trajectory in trajectories:
            validate(trajectory)
        self._log_episodes(cases, trajectories)
        if self._on_step is not None:
            self._on_step(self.state.global_step, list(zip(cases, trajectories, strict=True)))
        return self._as_trl(trajectories)

    async def _play(self, cases: Sequence[Case]) -> list[Trajectory]:
        members: dict[str, int] = {}
        self._pictures: dict[str, Any] = {}
        jobs = []
        seed = seed_of(self.args.seed, self.state.global_step, self.accelerator.process_index)
        unique = {case.id: case for case in cases}.values()
        decoded = {case.id: [open_image(ref) for ref in case.images] for case in unique}
        for case in cases:
            members[case.id] = member = members.get(case.id, -1) + 1
            jobs.append(
                rollout(
                    case,
                    self._policy,
                    self._rules,
                    sampling=self._sampling,
                    seed=seed,
                    member=member,
                    studies=decoded[case.id],
                    on_messages=self._keep,
                )
            )
        return list(await asyncio.gather(*jobs))

    def _keep(self, messages: Sequence[Any]) -> None:
        for message in messages:
            for part in message.images:
                if part.sha256 not in self._pictures:
                    self._pictures[part.sha256] = part.image
                    if self._images is not None:
                        self._images.put(part)

    def _as_trl(self, trajectories: Sequence[Trajectory]) -> Any:
        """What `GRPOTrainer._generate` returns.

        The images of all turns are given as tools' images, so that TRL encodes them together from
        the pictures themselves and builds the token types from the ids that were sampled.
        """
        prompt_ids, completion_ids, masks, logprobs, images, texts = [], [], [], [], [], []
        for trajectory in trajectories:
            # The environment's word after the last reply was read by nobody: it is not trained on.
            last = max(i for i, n in enumerate(trajectory.nodes) if n.role == "assistant")
            first, *rest = trajectory.branch(last)
            prompt_ids.append(list(first.token_ids))
            completion_ids.append([i for node in rest for i in node.token_ids])
            masks.append([m for node in rest for m in node.loss_mask])
            logprobs.append([v for node in rest for v in _aligned(node)])
            images.append([self._pictures[use.sha256] for n in (first, *rest) for use in n.images])
            texts.append([{"role": "assistant", "content": rest[-1].text}])
        extra = {"terms": [t.terms if t.failure is None else None for t in trajectories]}
        self._log_lengths(prompt_ids, completion_ids, masks)
        return prompt_ids, completion_ids, masks, texts, logprobs, extra, images, images

    def _log_lengths(
        self,
        prompt_ids: Sequence[Sequence[int]],
        completion_ids: Sequence[Sequence[int]],
        masks: Sequence[Sequence[int]],
    ) -> None:
        mode = self._mode
        sampled = torch.tensor([float(sum(mask)) for mask in masks], device=self.accelerator.device)
        lengths = self.accelerator.gather(sampled)
        total = float(sum(map(len, prompt_ids)) + sum(map(len, completion_ids)))
        if mode == "train":
            tokens = self.accelerator.gather(torch.tensor(total, device=lengths.device)).sum()
            self.state.num_input_tokens_seen += int(tokens.item())
        self._metrics[mode]["num_tokens"] = [self.state.num_input_tokens_seen]
        self._metrics[mode]["completions/mean_length"].append(lengths.mean().item())
        self._metrics[mode]["completions/min_length"].append(lengths.min().item())
        self._metrics[mode]["completions/max_length"].append(lengths.max().item())

    def _log_episodes(self, cases: Sequence[Case], trajectories: Sequence[Trajectory]) -> None:
        mode = self._mode
        hits = [hit(c, t) for c, t in zip(cases, trajectories, strict=True)]
        figures = {
            "accuracy": [float(t.correct) for t in trajectories],
            "looking/looked": [float(bool(t.looks)) for t in trajectories],
            "looking/hit": [float(h) for h in hits if h is not None],
            "looking/answered_blind": [float(t.terminated and not t.looks) for t in trajectories],
            "episode/turns": [float(t.turns) for t in trajectories],
            "episode/malformed": [float(t.malformed > 0) for t in trajectories],
            "episode/truncated": [float(t.truncated) for t in trajectories],
        }
        for name, values in figures.items():
            if values:
                self._metrics[mode][name].append(sum(values) / len(values))


def _aligned(node: Any) -> Sequence[float]:
    """A node's log-probabilities, one for each token: 0 where nothing was sampled."""
    return node.logprobs if node.role == "assistant" else (0.0,) * len(node.token_ids)
