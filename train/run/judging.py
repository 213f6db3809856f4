"""How the policies of a run are judged: one after another.

Each is loaded, judged and closed in its turn; those of a consultation share what is loaded, live
together, and are closed by their owner. Where several processes do a run, each plays its share of
the cases of every policy.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from medgym.case_notes import notes_of
from medgym.cases import Case
from medgym.episode import Rules
from medgym.judge import Judgement, load_judge
from medgym.local_model import LocalModel, load_local_model
from medgym.model_options import DEFAULTS, ModelOptions
from medgym.policy import Policy, Sampling, load_policy
from medgym.progress import Advance, progress
from medgym.spec import write_spec
from medgym.storage.atomic import write_atomic
from medgym.storage.json_files import read_json
from medgym.storage.layout import Place
from medgym.storage.results import in_format_1, results
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import TrajectoryStore
from medgym.tool_form import ToolFormName, in_tool_form
from medgym.tool_record import tool_facts
from medgym.unreadable import as_figures

from ..models.template import switched
from .fingerprint import PlugIn, of_play
from .opened import Run
from .processes import count, everyone, in_order, is_first, share
from .stage import Stage, TrainedPolicy

if TYPE_CHECKING:
    from transformers import ProcessorMixin

Figures = dict[str, Any]
"""Figures as `results.json` holds them; see `medgym.storage.results`."""

JUDGE = "vqa"


@dataclass(frozen=True)
class Contestant:
    """A policy that is judged, and on what.

    Attributes:
        name: under which `results.json` lists it.
        policy: called when its turn comes; loads it, or returns it where it is shared. One that is
            not shared is closed before the next turn.
        cases, rules: what it plays.
        sampling: how it samples its replies, by whether it is greedy.
        shared: whether others use it as well, so that its owner closes it.
    """

    name: str
    policy: Callable[[], Policy]
    cases: Sequence[Case]
    rules: Rules
    sampling: Callable[[bool], Sampling]
    shared: bool = False


@dataclass(frozen=True)
class Judged:
    """A policy's two judgements: with sampled replies, and with the likeliest ones."""

    sampled: Judgement
    greedy: Judgement


class JudgingStage(Stage):
    """`[cases] test`: the trained policy, what it began from, and baselines on held-out cases."""

    name: ClassVar[str] = "judge"
    needs: ClassVar[tuple[str, ...]] = ("cold_start",)
    together: ClassVar[bool] = True

    def __init__(self, training: Sequence[Stage]) -> None:
        self._training = training

    def check(self, run: Run) -> None:
        """Look for the judge."""
        load_judge(JUDGE)

    def plug_ins(self, run: Run) -> Iterator[PlugIn]:
        """The judge, and what it plays with."""
        yield PlugIn("judges", JUDGE)
        yield from of_play(run.recipe, run.test)

    def do(self, run: Run) -> None:
        """Write the figures of every policy into the run's folder."""
        asked = contestants(run, trained_policies(run, self._training))
        found = judge_each(asked, run.place, run.seed("judge"))
        write_figures({name: figures_of(judged) for name, judged in found}, run.place)


def trained_policies(run: Run, stages: Sequence[Stage]) -> tuple[TrainedPolicy, ...]:
    """The policies that the stages of a run have left, the trained one last.

    What the training began from is always among them: where one stage alone left a policy, that is
    the base.
    """
    left = [each for stage in stages if stage.wanted(run) for each in stage.policies(run)]
    if len(left) < 2:
        left.insert(0, TrainedPolicy("base", "base model", run.base))
    return tuple(left)


def contestants(run: Run, policies: Sequence[TrainedPolicy]) -> list[Contestant]:
    """What is judged of a run, all by the view size of the test cases.

    Args:
        policies: those that the run has trained; the last one is played without its tools, too.
    """
    rules, bare = run.rules(run.test), run.rules(run.test, tools=False)

    def sampling(greedy: bool) -> Sampling:
        return run.sampling(greedy=greedy)

    def loader(policy: TrainedPolicy) -> Callable[[], Policy]:
        return partial(trained_policy, policy, run)

    loaders: dict[str, tuple[Callable[[], Policy], Rules]] = {
        "no_tools": (loader(policies[-1]), bare),
        "prior": (partial(load_policy, "scripted:prior"), rules),
        **{each.name: (loader(each), rules) for each in policies},
        "oracle": (partial(load_policy, "scripted:oracle"), rules),
    }
    return [
        Contestant(name, policy, run.test, its_rules, sampling)
        for name, (policy, its_rules) in loaders.items()
    ]


def judge_each(
    contestants: Sequence[Contestant], place: Place, seed: int
) -> Iterable[tuple[str, Judged]]:
    """Judge one policy after another; of those that are not shared, no two are held at once.

    The sampled trajectories are kept under `judged/`. A resumed run judges again and replaces them.
    """
    total = 2 * sum(len(share(each.cases)) for each in contestants)
    with progress("judging", total) as advance:
        for each in contestants:
            judged = _judge(each, place, seed, advance)
            if is_first():
                store = TrajectoryStore(place.judged(each.name))
                store.write(judged.sampled.trajectories, number=0)
            yield each.name, judged


def _judge(each: Contestant, place: Place, seed: int, advance: Advance) -> Judged:
    keep = RunFolder(place.folder).keep_images
    policy = each.policy()
    try:
        sampled, greedy = (
            _judge_shared(
                policy,
                each.cases,
                each.rules,
                sampling=each.sampling(is_greedy),
                seed=seed,
                on_progress=lambda _: advance(1, policy=each.name),
                on_messages=None if is_greedy else keep,
            )
            for is_greedy in (False, True)
        )
    finally:
        if not each.shared:
            policy.close()
    return Judged(sampled, greedy)


def _judge_shared(
    policy: Policy, cases: Sequence[Case], rules: Rules, *, sampling: Sampling, seed: int, **to: Any
) -> Judgement:
    """The judgement on all cases, of which each process plays its share."""
    judge = load_judge(JUDGE)
    if count() == 1:
        return judge(policy, cases, rules, sampling=sampling, seed=seed, **to)
    own = share(cases)
    judged = judge(policy, own, rules, sampling=sampling, seed=seed, **to) if own else None
    played = in_order(everyone(judged.trajectories if judged is not None else ()))
    return judge(policy, cases, rules, sampling=sampling, seed=seed, trajectories=played)


def figures_of(judged: Judged) -> Figures:
    """How a policy did, as `results.json` has it."""
    return {"sampled": judged.sampled.as_dict(), "greedy": judged.greedy.as_dict()}


def trained_policy(policy: TrainedPolicy, run: Run) -> LocalModel:
    """A policy that a stage has left, loaded as the recipe says."""
    options = run.recipe.model.options
    form = run.recipe.tools.form
    if policy.model != run.base:
        return model_policy(policy.model, policy.adapter, options.in_run, tool_form=form)
    switch = switched(run.recipe.rollout.chat_template_kwargs)
    return model_policy(policy.model, policy.adapter, options, switch, form)


def model_policy(
    base: Path | str,
    adapter: Path | None = None,
    options: ModelOptions = DEFAULTS,
    check: "Callable[[ProcessorMixin], object] | None" = None,
    tool_form: ToolFormName = "text",
) -> LocalModel:
    """The policy of a model's folder, or of an adapter over it, in this process."""
    named = None if adapter is None else str(adapter)
    policy = load_local_model(
        str(base), named, options, check=check, patience=None, tool_form=tool_form
    )
    policy.spec = in_tool_form(write_spec("hf", f"{base}{options.query()}", named), tool_form)
    return policy


def write_figures(figures: Mapping[str, Figures], place: Place) -> None:
    """Keep the figures of the judging, from which `results.json` is written."""
    if is_first():
        write_atomic(place.figures, json.dumps(figures, indent=1).encode())


def write_results(run: Run) -> Figures:
    """Write `results.json`, once all policies are judged; returns what it holds."""
    recipe, rules, sampling = run.recipe, run.rules(run.test), run.sampling()
    asked = {
        "command": "train",
        "recipe": recipe.name,
        "seed": recipe.seed,
        "cases": recipe.cases.test,
        "tools": list(recipe.tools.names),
        **tool_facts(rules.tools),
        "view_size": rules.view_size,
        **({"view_multiple": rules.view_multiple} if rules.view_multiple > 1 else {}),
        "rubric": rules.rubric.name,
        "judge": JUDGE,
        "sampling": {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
        },
    }
    asked |= notes_of(run.named_cases)
    left_out = run.records.unreadable()
    if left_out:
        asked["unreadable"] = as_figures(left_out, sum(map(len, run.learned.values())))
    if run.overlaps:
        asked["overlap"] = [each.as_dict() for each in run.overlaps]
    judged = read_json(run.place.figures)
    policies = {name: in_format_1(name, figures) for name, figures in judged.items()}
    found = results(asked, policies, run.place.stages())
    if is_first():
        write_atomic(run.place.results, json.dumps(found, indent=1).encode())
    return found
