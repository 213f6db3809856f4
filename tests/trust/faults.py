"""Faults that change what is trained on while every count stays right, each in one seam.

A fault plants itself in a `Scene` and trains there through the public path. It is found by name, in
one of the first steps.
"""

import inspect
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageOps
from transformers.trainer_utils import get_last_checkpoint
from trl.trainer import grpo_trainer

from medgym.agents.hf.policy import AdaptedHF, HFPolicy
from medgym.episode import Rules
from medgym.errors import RunError
from medgym.imaging.lazy_image import image_hash
from medgym.local_model import ForcedTokens, LocalModel
from medgym.messages import ImagePart, Message, Reply, render_call
from medgym.png import png_bytes
from medgym.policy import Policy, Sampling, WrappedPolicy
from medgym.storage.adapters import Samplers, Version, publish
from medgym.storage.layout import Place
from medgym.train.grpo import batch, rollouts
from medgym.train.grpo import trainer as grpo
from medgym.train.grpo.monitor import SightMonitor
from medgym.train.grpo.rollouts import StepRollouts
from medgym.train.grpo.stage import train_grpo
from medgym.train.models import lora
from medgym.train.models.checkpoint import load_model
from medgym.train.recipe.schema import SightTable, parse_recipe
from medgym.train.sft import samples
from tests.families import blind
from tests.train.doctor.test_command import drop_in_environment, drop_in_trainer
from tests.train.doctor.test_exchanged import learned

STEPS = 4
"""Steps that are trained where nothing stops them; every fault must stop within three."""


class Looking(WrappedPolicy):
    """A model whose first reply of each episode is a call, with the log-probabilities it has."""

    policy: LocalModel
    local_model = True

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The call, then what the model samples."""
        if any(message.reply is not None for message in conversation):
            return await self.policy.act(conversation, sampling)
        left = 100 * (sampling.seed % 5)
        text = render_call("zoom", {"view": 0, "box": [left, 200, left + 400, 600]})
        prompt, ids = self.policy.prompt(conversation), self.policy.encode_reply(text)
        places = tuple(range(len(prompt.ids), len(prompt.ids) + len(ids)))
        (values,) = self.policy.logprobs(
            [ForcedTokens(prompt.ids + ids, places, tuple(prompt.images))],
            banned=self.vision_token_ids,
        )
        return Reply(text, prompt.ids, ids, tuple(values), prompt.image_tokens)


@dataclass
class Scene:
    """Where a fault is planted.

    Attributes:
        patch: changes one seam. make: builds a trainer. base: a model's folder.
        folder: an empty one. rules: under which random replies earn unequally.
    """

    patch: pytest.MonkeyPatch
    make: Callable[..., Any]
    base: Path
    folder: Path
    rules: Rules

    def trainer(self, player: Callable[[LocalModel], Policy] = Looking, **asked: Any) -> Any:
        """A trainer whose own model looks at a second image in each episode."""
        rules = replace(self.rules, max_turns=3)
        trainer = self.make(**({"rules": rules, "max_steps": STEPS} | asked))
        trainer._policy = trainer.local = player(trainer.local)
        return trainer

    def engine(self, player: Callable[[LocalModel], Policy]) -> Any:
        """A trainer whose episodes are sampled by another engine, which holds the same weights."""

        class Elsewhere(WrappedPolicy):
            local_model = False

        policy = Elsewhere(player(HFPolicy(*load_model(self.base), patience=None)))
        return self.make(rules=replace(self.rules, max_turns=3), policy=policy, max_steps=STEPS)

    def follow(self, steps: int = STEPS, publish_every: int = 1) -> None:
        """Train with an engine that is handed the adapter every so many steps."""
        recipe = parse_recipe(
            {
                "name": "planted",
                "model": {"path": str(self.base)},
                "cases": {"train": "phantom:train", "test": "phantom:test"},
                "rollout": {
                    "policy": "hf:{base}", "max_turns": 2, "max_tokens": 6,
                    "publish_every": publish_every,
                },
                "lora": {"r": 4},
                "sight": {"every": 0},
                "grpo": {
                    "max_steps": steps, "per_device_train_batch_size": 4, "num_generations": 2,
                    "learning_rate": 3e-2, "beta": 0.0, "report_to": ["none"], "save_steps": 1,
                },
            },
            "planted.toml",
        )  # fmt: skip
        place = Place(self.folder)
        self.patch.setattr(Place, "cold_start", property(lambda _: self.base))
        from medgym import open_cases

        cases = open_cases("phantom,look=radiograph,question=kind:train[:16]")
        train_grpo(recipe, *load_model(self.base), cases, self.rules, Sampling(max_tokens=6), place)


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        what: it does, and where.
        found: plants it; gives by what name it is found, and in which step.
    """

    what: str
    found: Callable[[Scene], tuple[str, str]]


FAULTS: list[Fault] = []


def fault(what: str) -> Callable[[Callable[[Scene], None]], None]:
    """Lists a fault that stops the training; what it decorates plants it and trains."""

    def listed(plant: Callable[[Scene], None]) -> None:
        FAULTS.append(Fault(what, lambda scene: stopped(scene, plant)))

    return listed


def stopped(scene: Scene, plant: Callable[[Scene], None]) -> tuple[str, str]:
    """By what name a fault stops the training, and in which step; the last checkpoint is whole."""
    steps: list[int] = []
    generate = grpo.LookingTrainer._generate

    def counting(self: grpo.LookingTrainer, prompts: Any) -> Any:
        steps.append(self.state.global_step + 1)
        return generate(self, prompts)

    scene.patch.setattr(grpo.LookingTrainer, "_generate", counting)
    with torch.random.fork_rng(devices=[]), pytest.raises(RunError, match="; fix: ") as raised:
        plant(scene)
    assert steps[-1] <= 3
    checkpoints = Place(scene.folder).checkpoints
    if checkpoints.is_dir():
        last = get_last_checkpoint(str(checkpoints))
        assert last == str(checkpoints / f"checkpoint-{steps[-1] - 1}")
        assert (Path(last) / "adapter_model.safetensors").is_file()
        assert (Path(last) / "trainer_state.json").is_file()
    return f"`{type(raised.value).__name__}`", str(steps[-1])


@fault("two images change places in memory, after they were shown")
def _(scene: Scene) -> None:
    play = StepRollouts.play

    def exchanging(self: StepRollouts, *given: Any, **more: Any) -> Any:
        played = play(self, *given, **more)
        first, *_, last = sorted(self.pictures)
        self.pictures[first], self.pictures[last] = self.pictures[last], self.pictures[first]
        return played

    scene.patch.setattr(StepRollouts, "play", exchanging)
    scene.trainer().train()


@fault("an image arrives from a worker under another one's hash")
def _(scene: Scene) -> None:
    settle = rollouts.settle

    async def exchanging(*given: Any, **more: Any) -> Any:
        async for rolled in settle(*given, **more):
            name = rolled.trajectory.nodes[0].images[0].sha256
            yield replace(rolled, images={name: png_bytes(Image.new("RGB", (64, 64)))})

    scene.patch.setattr(rollouts, "settle", exchanging)
    scene.trainer().train()


def change_rows(scene: Scene, change: Callable[[list[Any]], list[Any]]) -> None:
    """From here on the rows that are made of trajectories are changed."""
    whole = batch.rows_of
    scene.patch.setattr(grpo, "rows_of", lambda *given: change(list(whole(*given))))
    scene.trainer().train()


@fault("two rows change their images")
def _(scene: Scene) -> None:
    def change(rows: list[Any]) -> list[Any]:
        first, *middle, last = rows
        return [
            replace(first, images=last.images), *middle, replace(last, images=first.images)
        ]  # fmt: skip

    change_rows(scene, change)


@fault("the images of one row change their order")
def _(scene: Scene) -> None:
    change_rows(scene, lambda rows: [replace(rows[0], images=rows[0].images[::-1]), *rows[1:]])


@fault("the log-probabilities of one row are late by one token")
def _(scene: Scene) -> None:
    def late(row: Any) -> Any:
        return replace(row, logprobs=(0.0, *row.logprobs[:-1]))

    change_rows(scene, lambda rows: [late(rows[0]), *rows[1:]])


@fault("the mask of one row is late by one token")
def _(scene: Scene) -> None:
    def late(row: Any) -> Any:
        return replace(row, mask=(0, *row.mask[:-1]))

    change_rows(scene, lambda rows: [late(rows[0]), *rows[1:]])


@fault("two images change places in what TRL is given")
def _(scene: Scene) -> None:
    whole = grpo.as_trl

    def exchanging(*given: Any) -> Any:
        made = whole(*given)
        images = made[-1]
        images[0][0], images[-1][0] = images[-1][0], images[0][0]
        return made

    scene.patch.setattr(grpo, "as_trl", exchanging)
    scene.trainer().train()


def rolled(made: dict[str, Any]) -> dict[str, Any]:
    """Every image of a batch takes the place of the next one; all are of one size."""
    size = int(made["image_grid_thw"][0].prod())
    assert len({tuple(grid) for grid in made["image_grid_thw"].tolist()}) == 1
    return {**made, "pixel_values": made["pixel_values"].roll(size, dims=0)}


@fault("the pixels of all images move on by one image in what TRL makes")
def _(scene: Scene) -> None:
    made = grpo.GRPOTrainer._generate_and_score_completions
    scene.patch.setattr(
        grpo.GRPOTrainer,
        "_generate_and_score_completions",
        lambda self, inputs: rolled(made(self, inputs)),
    )
    scene.trainer().train()


@fault("the pixels of all images move on by one image when TRL splits a batch")
def _(scene: Scene) -> None:
    split = grpo_trainer.split_pixel_values_by_grid
    scene.patch.setattr(
        grpo_trainer, "split_pixel_values_by_grid", lambda made: split(rolled(made))
    )
    scene.trainer().train()


@fault("the mask is late by one token when TRL splits a batch")
def _(scene: Scene) -> None:
    shuffle = grpo_trainer.shuffle_sequence_dict
    scene.patch.setattr(
        grpo_trainer,
        "shuffle_sequence_dict",
        lambda made: shuffle({**made, "tool_mask": made["tool_mask"].roll(1, dims=1)}),
    )
    scene.trainer().train()


class LateReplies(Looking):
    """Reports the log-probabilities of its replies late by one token."""

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """See above."""
        reply = await super().act(conversation, sampling)
        values = reply.logprobs or ()
        return replace(reply, logprobs=(values[0], *values[:-1]))


@fault("the sampler reports log-probabilities late by one token")
def _(scene: Scene) -> None:
    scene.trainer(LateReplies).train()


def shown_as(
    conversation: Sequence[Message], change: Callable[[list[Image.Image]], list[Image.Image]]
) -> list[Message]:
    """A conversation whose images are others."""
    images: Iterator[Image.Image] = iter(
        change([part.image for message in conversation for part in message.images])
    )
    return [
        replace(
            message,
            content=tuple(
                ImagePart(part.view, next(images)) if isinstance(part, ImagePart) else part
                for part in message.content
            ),
        )
        for message in conversation
    ]


class Mistaken(Looking):
    """Shows its model the first image mirrored."""

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """See above."""
        said = shown_as(conversation, lambda images: [ImageOps.mirror(images[0]), *images[1:]])
        return await super().act(said, sampling)


@fault("the sampler reads another image than was shown")
def _(scene: Scene) -> None:
    scene.trainer(Mistaken).train()


class Disordered(Looking):
    """Shows its model the images in the reverse order."""

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """See above."""
        return await super().act(shown_as(conversation, lambda images: images[::-1]), sampling)


@fault("the sampler reads the images in another order")
def _(scene: Scene) -> None:
    scene.trainer(Disordered).train()


def scaled(factor: float, shift: float) -> type[Looking]:
    """An engine whose log-probabilities are of another scale."""

    class Scaled(Looking):
        async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
            reply = await super().act(conversation, sampling)
            values = tuple(factor * value + shift for value in reply.logprobs or ())
            return replace(reply, logprobs=values)

    return Scaled


@fault("an engine reports log-probabilities of another scale")
def _(scene: Scene) -> None:
    scene.engine(scaled(40.0, 0.0)).train()


@fault("importance sampling gives no sequence any weight")
def _(scene: Scene) -> None:
    scene.engine(scaled(1.0, -0.1)).train()


@fault("an older adapter is written under a new version's name")
def _(scene: Scene) -> None:
    save = lora.save_adapter

    def stale(model: Any, run: Path, role: str, step: int) -> Version:
        if step < 2:
            return save(model, run, role, step)
        return publish(run / "adapters" / role / "1", run, role, step)

    scene.patch.setattr(lora, "save_adapter", stale)
    scene.follow()


@fault("an engine plays by an older adapter under a new version's name")
def _(scene: Scene) -> None:
    load, first = HFPolicy.with_adapter, []

    def stale(self: HFPolicy, name: str, path: Path) -> AdaptedHF:
        first.append(path)
        return load(self, name, first[0])

    scene.patch.setattr(HFPolicy, "with_adapter", stale)
    scene.follow()


@fault("an engine plays by an older version")
def _(scene: Scene) -> None:
    load, kept = Samplers.load, []

    def stale(self: Samplers, version: Version) -> tuple[Policy, ...]:
        self._keep = STEPS  # so that the older one is still there to play
        kept.append(load(self, version))
        return kept[0]

    scene.patch.setattr(Samplers, "load", stale)
    scene.follow()


@fault("a tool's image is not shown")
def _(scene: Scene) -> None:
    drop_in_environment(scene.patch)
    scene.trainer().train()


@fault("rows are made without the images of later turns")
def _(scene: Scene) -> None:
    drop_in_trainer(scene.patch, batch)
    scene.trainer().train()


@fault("TRL drops the images of a batch")
def _(scene: Scene) -> None:
    whole = grpo.as_trl

    def cut(*given: Any) -> Any:  # a completion cut through an image, as a length limit would
        made = list(whole(*given))
        made[0][0] = made[0][0][-30:]
        return tuple(made)

    scene.patch.setattr(grpo, "as_trl", cut)
    scene.trainer().train()


@fault("image features are zero inside the model")
def _(scene: Scene) -> None:
    model, processor = load_model(scene.base)
    monitor = SightMonitor(SightTable(every=1), temperature=1.0)
    scene.make(loaded=(blind(model), processor), monitor=monitor).train()


@fault("dropout, which the sampler does not have")
def _(scene: Scene) -> None:
    model, processor = load_model(scene.base)
    for module in model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.9
    scene.make(loaded=(model, processor), max_steps=STEPS).train()


def learned_wrong(scene: Scene) -> tuple[str, str]:
    """What the doctor says of a model that learned from exchanged images."""
    check = learned(scene.base, scene.folder, exchanged=True)
    assert check.verdict == "fail"
    assert "speak against the right answers" in check.fix
    return f"`medgym doctor`, check `{check.check}`", "before training"


def imitated_wrong(scene: Scene) -> tuple[str, str]:
    """What the cold start says where a batch has its images in another order."""
    source = inspect.getsource(samples)
    right = "images = [pictures[name] for name in names]"
    assert source.count(right) == 1
    mutant = types.ModuleType(samples.__name__)
    vars(mutant)["__package__"] = samples.__package__
    scene.patch.setitem(sys.modules, mutant.__name__, mutant)
    exec(source.replace(right, right.replace("in names", "in reversed(names)")), vars(mutant))
    model, processor = load_model(scene.base)
    pictures = {image_hash(image): image for image in (_grey(20), _grey(200))}
    token = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    sample = mutant.Sample((token,) * 32 + (5,), (0,) * 32 + (1,), tuple(pictures), token)
    mutant.Collator(model, processor, pictures.__getitem__)([replace(sample, pictures=())])
    with pytest.raises(RunError) as raised:
        mutant.Collator(model, processor, pictures.__getitem__)([sample])
    return f"`{type(raised.value).__name__}`", "1 of the cold start"


def _grey(level: int) -> Image.Image:
    return Image.new("RGB", (64, 64), (level,) * 3)


FAULTS += [
    Fault("the images of a cold start's batch change their order", imitated_wrong),
    Fault("an adapter learned from exchanged images", learned_wrong),
]
