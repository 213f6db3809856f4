"""A training run from a recipe: base, cold start, GRPO, judging, each stage done once.

The run's folder says what is done: `stages.json` lists finished stages with their seconds, and a
run that is resumed goes on with the first stage that is not in it (GRPO from its last checkpoint).
Everything drawn by chance is seeded from the recipe's seed and what it is for.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from medgym.cases import open_cases
from medgym.env import DEFAULT_VIEW_SIZE, load_tools
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.messages import ImagePart
from medgym.policy import Policy, Sampling, load_policy
from medgym.progress import progress
from medgym.registry import load
from medgym.rollout import collect
from medgym.rubric import load_rubric
from medgym.seeds import seed_of
from medgym.store import ImageStore, TrajectoryStore, write_atomic

from .order import ordered
from .recipe import Recipe

ROLE = "policy"
"""The one role of a single policy; its adapters lie in `adapters/policy/STEP/`."""


@dataclass(frozen=True)
class Place:
    """A run's folder and what lies where in it."""

    folder: Path

    @property
    def cold_start(self) -> Path:
        """The model after the cold start, as an ordinary checkpoint."""
        return self.folder / "cold_start"

    @property
    def checkpoints(self) -> Path:
        """The trainer's checkpoints, from which GRPO resumes."""
        return self.folder / "checkpoints"

    def adapter(self, step: int) -> Path:
        """The adapter after a step, as an ordinary PEFT adapter."""
        return self.folder / "adapters" / ROLE / str(step)

    def last_adapter(self) -> Path:
        """The newest adapter."""
        steps = [int(p.name) for p in (self.folder / "adapters" / ROLE).glob("*") if p.is_dir()]
        return self.adapter(max(steps))

    def stages(self) -> dict[str, float]:
        """Seconds of each finished stage."""
        path = self.folder / "stages.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and write it down as finished."""
        start = time.monotonic()
        yield
        done = self.stages() | {name: round(time.monotonic() - start, 1)}
        write_atomic(self.folder / "stages.json", json.dumps(done, indent=1).encode())


def rules_of(recipe: Recipe, *, tools: bool = True) -> Rules:
    """The rules of the recipe's episodes; without `tools` the policy's tools are taken away."""
    cases = open_cases(recipe.cases.train)
    return Rules(
        tools=load_tools(recipe.tools.names if tools else ()),
        rubric=load_rubric(recipe.rubric.name),
        max_turns=recipe.rollout.max_turns,
        view_size=recipe.rollout.view_size or cases.view_size or DEFAULT_VIEW_SIZE,
    )


def sampling_of(recipe: Recipe, *, greedy: bool = False) -> Sampling:
    """How the recipe's policy draws its replies, in training and, unless `greedy`, when judged."""
    temperature = 0.0 if greedy else recipe.rollout.temperature
    return Sampling(temperature=temperature, max_tokens=recipe.rollout.max_tokens)


def load_base(recipe: Recipe) -> Path | str:
    """The base model's folder or hub name; the built-in one is made on first use and cached."""
    if recipe.model.path is not None:
        return recipe.model.path
    from .tiny_base import tiny_base

    return tiny_base()


def cold_start(recipe: Recipe, base: Path | str, place: Place) -> None:
    """Imitate the recipe's demonstrations; without them the base is taken as it is."""
    from .checkpoint import load_model, save_model
    from .sft import supervised

    model, processor = load_model(base)
    if recipe.demonstrations is not None:
        cases = open_cases(recipe.demonstrations.cases)
        demonstrator = load_policy(recipe.demonstrations.policy)
        policy = load("policies", "hf")(model, processor).imitating(demonstrator)
        pictures: dict[str, Any] = {}

        def keep(messages: Any) -> None:
            for part in (part for message in messages for part in message.images):
                pictures[part.sha256] = part.image

        with progress("demonstrations", len(cases)) as advance:
            shown = []
            stream = collect(
                cases,
                policy,
                rules_of(recipe),
                seed=seed_of(recipe.seed, "demonstrations"),
                on_messages=keep,
                ordered=True,
            )
            for trajectory in stream:
                shown.append(trajectory)
                advance(1)
        store(place, shown, pictures)
        with progress("cold start", recipe.sft.max_steps) as advance:
            supervised(
                model,
                processor,
                shown,
                pictures,
                recipe.sft,
                seed=seed_of(recipe.seed, "sft"),
                on_step=lambda step, loss: advance(1, loss=loss),
            )
    save_model(model, processor, place.cold_start)


def store(place: Place, trajectories: Any, pictures: dict[str, Any]) -> None:
    """Keep trajectories and their images in the run's folder."""
    images = ImageStore(place.folder / "images")
    for picture in pictures.values():
        images.put(ImagePart(0, picture))
    TrajectoryStore(place.folder / "trajectories").write(list(trajectories))


def grpo(recipe: Recipe, place: Place) -> None:
    """Train the recipe's policy with GRPO, from the cold start or from the last checkpoint."""
    from .checkpoint import load_model
    from .optimise import train_grpo

    model, processor = load_model(place.cold_start)
    cases = ordered(open_cases(recipe.cases.train), recipe.cases.order, recipe.seed)
    train_grpo(recipe, model, processor, cases, rules_of(recipe), sampling_of(recipe), place)


def judged(recipe: Recipe, place: Place) -> dict[str, Any]:
    """Judge every policy of the run on the recipe's held-out cases, sampled and greedy."""
    cases = open_cases(recipe.cases.test)
    judge = load("suites", "vqa")
    rules, bare = rules_of(recipe), rules_of(recipe, tools=False)
    base = str(place.cold_start)
    trained = f"{base}@{place.last_adapter()}"
    players: dict[str, tuple[Callable[[], Policy], Rules]] = {
        "no_tools": (lambda: model_policy(trained), bare),
        "prior": (lambda: load_policy("scripted:prior"), rules),
        "cold_start": (lambda: model_policy(base), rules),
        "grpo": (lambda: model_policy(trained), rules),
        "oracle": (lambda: load_policy("scripted:oracle"), rules),
    }
    figures: dict[str, Any] = {}
    with progress("judging", 2 * len(cases) * len(players)) as advance:
        for name, (player, player_rules) in players.items():
            policy = player()
            drawn, greedy = (
                judge(
                    policy,
                    cases,
                    player_rules,
                    sampling=sampling_of(recipe, greedy=is_greedy),
                    seed=seed_of(recipe.seed, "judge"),
                    on_progress=lambda _, name=name: advance(1, policy=name),
                )
                for is_greedy in (False, True)
            )
            TrajectoryStore(place.folder / "judged" / name).write(drawn.trajectories)
            figures[name] = {
                "accuracy": drawn.accuracy.value,
                "low": drawn.accuracy.low,
                "high": drawn.accuracy.high,
                "n": drawn.accuracy.n,
                "greedy": greedy.accuracy.value,
                "greedy_low": greedy.accuracy.low,
                "greedy_high": greedy.accuracy.high,
                "looked": drawn.looked,
                "hit": drawn.hit,
                "by_answer": {k: rate.value for k, rate in drawn.by_answer.items()},
            }
    return figures


def model_policy(spec: str) -> Policy:
    """The policy of a model folder, with `@ADAPTER` if any, as this room loads models."""
    from .checkpoint import load_model

    path, _, adapter = spec.partition("@")
    model, processor = load_model(path)
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter)
    policy: Policy = load("policies", "hf")(model, processor, patience=None)
    policy.spec = f"hf:{spec}"
    return policy


def run(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Do every stage that is not done yet; returns what `results.json` holds."""
    place = Place(folder)
    if recipe.model.build is not None:
        # So small a model gains nothing from a second thread, and one thread rounds alike anywhere.
        torch.set_num_threads(1)
    if recipe.seed < 0:
        raise UserError(f"the seed is {recipe.seed}; mend: give one of 0 or more")
    base: Path | str = ""
    if "cold_start" not in place.stages():
        with place.stage("base"):
            base = load_base(recipe)
        with place.stage("cold_start"):
            cold_start(recipe, base, place)
    if "grpo" not in place.stages():
        with place.stage("grpo"):
            grpo(recipe, place)
    if "judge" not in place.stages():
        with place.stage("judge"):
            figures = judged(recipe, place)
            write_atomic(place.folder / "judged.json", json.dumps(figures, indent=1).encode())
    figures = json.loads((place.folder / "judged.json").read_text())
    seconds = place.stages()
    results = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "policies": figures,
        "seconds": seconds | {"total": round(sum(seconds.values()), 1)},
    }
    write_atomic(folder / "results.json", json.dumps(results, indent=1).encode())
    return results
