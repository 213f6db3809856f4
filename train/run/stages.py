"""A training run from a recipe: base, cold start, GRPO, judging, each stage done once.

The run's folder says what is done: `stages.json` lists finished stages with their seconds, and a
run that is resumed goes on with the first stage that is not in it (GRPO from its last checkpoint).
Everything drawn by chance is seeded from the recipe's seed and what it is for.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from medgym.cases import open_cases
from medgym.episode import DEFAULT_VIEW_SIZE, Rules
from medgym.errors import UserError
from medgym.judge import Judgement, load_judge
from medgym.local_model import load_local_model, local_model
from medgym.policy import Policy, Sampling, load_policy
from medgym.progress import progress
from medgym.seeds import seed_of
from medgym.spec import split_adapter, write_spec
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import TrajectoryStore, write_atomic
from medgym.tool import load_tools

from ..data.demonstrations import demonstrations
from ..data.order import gold_cases, ordered
from ..grpo.dynamic_sampling import Records
from ..recipe.rubric import rubric_of
from ..recipe.schema import Recipe
from .disk import disk_may_fill
from .processes import by_itself, is_first, wait_for

ROLE = "policy"
"""The one role of a single policy; its adapters lie in `adapters/policy/STEP/`."""


@dataclass(frozen=True)
class Place:
    """A run's folder and what lies where in it, of one role if several are trained."""

    folder: Path
    role: str = ROLE

    @property
    def cold_start(self) -> Path:
        """The model after the cold start, as an ordinary checkpoint."""
        return self.folder / "cold_start"

    @property
    def checkpoints(self) -> Path:
        """The trainer's checkpoints, from which GRPO resumes."""
        return self._own("checkpoints")

    @property
    def metrics(self) -> Path:
        """One JSON line for each step of GRPO."""
        return self._own("metrics").with_suffix(".jsonl")

    @property
    def tensorboard(self) -> Path:
        """The same for TensorBoard."""
        return self._own("tensorboard")

    @property
    def played(self) -> Path:
        """The trajectories of GRPO."""
        return self._own("trajectories/grpo")

    def _own(self, name: str) -> Path:
        return self.folder / (name if self.role == ROLE else f"{name}-{self.role}")

    @property
    def trained(self) -> str:
        """The trained policy as `model_policy` takes it: `BASE@ADAPTER`, or a model's folder."""
        whole = self.folder / "trained"
        if whole.is_dir():  # trained without an adapter
            return str(whole)
        versions = self.folder / "adapters" / self.role
        newest = max(int(path.name) for path in versions.glob("*") if path.is_dir())
        return write_spec("hf", str(self.cold_start), str(versions / str(newest)))[3:]

    def stages(self) -> dict[str, float]:
        """Seconds of each finished stage."""
        path = self.folder / "stages.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and write it down as finished."""
        start = time.monotonic()
        with disk_may_fill():
            yield
        done = self.stages() | {name: round(time.monotonic() - start, 1)}
        write_atomic(self.folder / "stages.json", json.dumps(done, indent=1).encode())


def rules_of(recipe: Recipe, *, tools: bool = True) -> Rules:
    """The rules of the recipe's episodes; without `tools` the policy's tools are taken away."""
    cases = open_cases(recipe.cases.train)
    return Rules(
        tools=load_tools(recipe.tools.names if tools else ()),
        rubric=rubric_of(recipe.rubric),
        max_turns=recipe.rollout.max_turns,
        max_tokens=recipe.rollout.max_context,
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
    from ..tiny.base import BASES, tiny_base

    return tiny_base(BASES[str(recipe.model.build)])


def check(recipe: Recipe) -> None:
    """Say what a recipe lacks here, before anything is written.

    Raises:
        UserError: cases that are not there or have no gold, or no GPU where one is needed.
    """
    if recipe.seed < 0:
        raise UserError(f"the seed is {recipe.seed}; fix: give one of 0 or more")
    if recipe.model.gpu and not torch.cuda.is_available():
        raise UserError(
            f"the recipe {recipe.name} needs a GPU and there is none; fix: run it where there is "
            "one, or set [model] gpu = false"
        )
    specs = [recipe.cases.train, recipe.cases.test]
    if recipe.demonstrations is not None:
        specs.append(recipe.demonstrations.cases)
    for spec in specs:
        gold_cases(spec)
    if recipe.consultation is None:
        check_grpo(recipe)
    if recipe.demonstrations is not None and PROCESSES not in os.environ:
        from ..sft.stage import sft_config

        settings = {key: value for key, value in recipe.sft.items() if key != "lora"}
        sft_config(settings, recipe.seed, Path("sft"))


PROCESSES = "WORLD_SIZE"
"""Set by a launcher of several processes. There, making a library's configuration joins them."""


def check_grpo(recipe: Recipe) -> None:
    """Have TRL look at `[grpo]` before anything is trained: it would refuse it hours later.

    Raises:
        UserError: it refuses it.
    """
    if PROCESSES not in os.environ:
        from ..grpo.stage import grpo_config

        grpo_config(recipe, Place(Path()))


def cold_start(recipe: Recipe, base: Path | str, place: Place) -> None:
    """Imitate the recipe's demonstrations; without them the base is taken as it is."""
    from ..models.checkpoint import load_model, save_model
    from ..sft.stage import supervised

    model, processor = load_model(base)
    if recipe.demonstrations is not None:
        run = RunFolder(place.folder)
        student = local_model(model, processor)
        student.spec = "the base"
        shown = demonstrations(
            recipe.demonstrations,
            gold_cases(recipe.demonstrations.cases),
            student,
            rules_of(recipe),
            sampling_of(recipe),
            run,
            Records(place.folder),
            seed=seed_of(recipe.seed, "demonstrations"),
        )
        settings = {key: value for key, value in recipe.sft.items() if key != "lora"}
        with progress("cold start", int(settings.get("max_steps", 0)) or None) as advance:
            model = supervised(
                model,
                processor,
                shown,
                run.images.get,
                settings,
                seed=seed_of(recipe.seed, "sft"),
                folder=place.folder / "sft" if "save_steps" in settings else None,
                parts=recipe.model.adapt,
                lora=recipe.sft.get("lora"),
                on_step=_Noted(place.folder / "cold_start.jsonl", advance),
            )
    # Under another name first: a folder of that name is a whole model.
    making = place.cold_start.with_name(".cold_start")
    shutil.rmtree(making, ignore_errors=True)
    save_model(model, processor, making)
    making.rename(place.cold_start)
    shutil.rmtree(place.folder / "sft", ignore_errors=True)  # the checkpoints on the way


class _Noted:
    """One JSON line for each step of the cold start, and the progress bar.

    Lines of steps that a resumed run takes again are dropped.
    """

    def __init__(self, path: Path, advance: Any) -> None:
        self._path = path
        self._advance = advance
        self._begun = False

    def __call__(self, step: int, logs: dict[str, float]) -> None:
        if not self._begun:
            self._begun = True
            lines = self._path.read_text("utf-8").splitlines() if self._path.exists() else []
            kept = [line + "\n" for line in lines if json.loads(line)["step"] < step]
            self._path.write_text("".join(kept), "utf-8")
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step} | logs) + "\n")
        self._advance(1, loss=logs["loss"])


def curriculum(recipe: Recipe, place: Place) -> None:
    """Choose and order the cases, where the recipe asks for it."""
    from ..data.curriculum import arrange

    policy = model_policy(str(place.cold_start))
    cases = ordered(gold_cases(recipe.cases.train), recipe.cases.order, recipe.seed)
    arrange(recipe, cases, policy, rules_of(recipe), sampling_of(recipe), place.folder)


def grpo(recipe: Recipe, place: Place) -> None:
    """Train the recipe's policy with GRPO, from the cold start or from the last checkpoint."""
    from ..data.curriculum import arranged, asked_for
    from ..grpo.stage import train_grpo
    from ..models.checkpoint import load_model

    model, processor = load_model(place.cold_start)
    cases = ordered(gold_cases(recipe.cases.train), recipe.cases.order, recipe.seed)
    if asked_for(recipe.curriculum):
        cases = arranged(cases, place.folder)
    train_grpo(recipe, model, processor, cases, rules_of(recipe), sampling_of(recipe), place)


def judged(recipe: Recipe, place: Place) -> dict[str, Any]:
    """Judge every policy of the run on the recipe's held-out cases, sampled and greedy."""
    cases = gold_cases(recipe.cases.test)
    judge = load_judge()
    rules, bare = rules_of(recipe), rules_of(recipe, tools=False)
    trained = place.trained
    players: dict[str, tuple[Callable[[], Policy], Rules]] = {
        "no_tools": (lambda: model_policy(trained), bare),
        "prior": (lambda: load_policy("scripted:prior"), rules),
        "cold_start": (lambda: model_policy(str(place.cold_start)), rules),
        "grpo": (lambda: model_policy(trained), rules),
        "oracle": (lambda: load_policy("scripted:oracle"), rules),
    }
    figures: dict[str, Any] = {}
    keep = RunFolder(place.folder).keep_images
    with progress("judging", 2 * len(cases) * len(players)) as advance:
        for name, (player, player_rules) in players.items():
            policy = player()

            def advanced(_: int, name: str = name) -> None:
                advance(1, policy=name)

            drawn, greedy = (
                judge(
                    policy,
                    cases,
                    player_rules,
                    sampling=sampling_of(recipe, greedy=is_greedy),
                    seed=seed_of(recipe.seed, "judge"),
                    on_progress=advanced,
                    on_messages=None if is_greedy else keep,
                )
                for is_greedy in (False, True)
            )
            # A run that is gone on with judges again, in the same place.
            TrajectoryStore(place.folder / "judged" / name).write(drawn.trajectories, number=0)
            figures[name] = figures_of(drawn, greedy)
    return figures


def figures_of(drawn: Judgement, greedy: Judgement) -> dict[str, Any]:
    """How a policy did, as `results.json` has it: sampled, with its interval, and greedy."""
    return {
        "accuracy": drawn.accuracy.value,
        "low": drawn.accuracy.low,
        "high": drawn.accuracy.high,
        "n": drawn.accuracy.n,
        "greedy": greedy.accuracy.value,
        "greedy_low": greedy.accuracy.low,
        "greedy_high": greedy.accuracy.high,
        "looked": drawn.looked,
        "hit": drawn.hit,
        "turns": drawn.turns,
        "calls": drawn.calls,
        "tokens": drawn.tokens,
        "by_answer": {k: rate.value for k, rate in drawn.by_answer.items()},
    }


def model_policy(spec: str) -> Policy:
    """The policy of a model folder, with `@ADAPTER` if any, as this room loads models."""
    path, adapter = (spec, None) if Path(spec).is_dir() else split_adapter(spec)
    policy = load_local_model(path, adapter, patience=None)
    policy.spec = f"hf:{spec}"
    return policy


def run(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Do every stage that is not done yet; returns what `results.json` holds."""
    place = Place(folder)
    from ..data.curriculum import asked_for

    if recipe.model.build is not None:
        # So small a model gains nothing from a second thread, and one thread rounds alike anywhere.
        torch.set_num_threads(1)
    begin(recipe, place)
    if asked_for(recipe.curriculum):
        once(place, "curriculum", lambda: curriculum(recipe, place))
    once(place, "grpo", lambda: grpo(recipe, place), alone=False)

    def judge() -> None:
        figures = judged(recipe, place)
        write_atomic(place.folder / "judged.json", json.dumps(figures, indent=1).encode())

    once(place, "judge", judge)
    return results_of(recipe, place)


def once(place: Place, name: str, work: Callable[[], None], *, alone: bool = True) -> None:
    """Do a stage that is not done yet.

    Where several processes do a run, the first does it while the others wait, or with
    `alone=False` all of them do it.
    """
    if name in place.stages():
        return
    if is_first():
        with place.stage(name):
            work()
        return
    if not alone:
        work()
    wait_for(name, place.stages)


def begin(recipe: Recipe, place: Place) -> None:
    """The first stages of any training: the base, and the cold start."""
    made: list[Path | str] = []

    def make() -> None:
        with by_itself():
            made.append(load_base(recipe))

    def imitate() -> None:
        with by_itself():
            cold_start(recipe, made[0] if made else load_base(recipe), place)

    once(place, "base", make)
    once(place, "cold_start", imitate)


def results_of(recipe: Recipe, place: Place) -> dict[str, Any]:
    """What is written to `results.json`, once everybody is judged."""
    seconds = place.stages()
    results = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "policies": json.loads((place.folder / "judged.json").read_text()),
        "seconds": seconds | {"total": round(sum(seconds.values()), 1)},
    }
    if is_first():
        write_atomic(place.folder / "results.json", json.dumps(results, indent=1).encode())
    return results
