"""Where the prompts of a search come from: the grammar, or an optimiser of dspy."""

import importlib
from contextlib import closing, nullcontext

from medgym.cases import CaseList
from medgym.errors import UserError, missing_library, unknown
from medgym.policy import Policy, load_policy
from medgym.rollout.request import ready
from medgym.storage.run_folder import RunFolder

from .grammar import Candidate
from .kept import Kept
from .training import TrainingEpisodes
from .trials import Trials

BUILT_IN = "halving"
NAMES = (BUILT_IN, "dspy:simba", "dspy:mipro", "dspy:gepa")


def require_optimiser(name: str, examples: str | None, writer: str | None) -> None:
    """Make sure that an optimiser can be used, before anything is played.

    Raises:
        UserError: there is none of that name, dspy is missing, or it has no training cases.
    """
    if name not in NAMES:
        raise unknown("optimiser", name, NAMES)
    if name == BUILT_IN:
        if writer is not None:
            raise UserError("only an optimiser of dspy has prompts written; fix: omit --writer")
        return
    if examples is None:
        raise UserError(f"{name} learns from training cases; fix: name them by --examples")
    try:
        importlib.import_module("dspy")
        if name == "dspy:mipro":
            importlib.import_module("optuna")
    except ImportError as error:
        raise missing_library(error) from error


def proposed_by_dspy(
    name: str,
    trials: Trials,
    examples: CaseList,
    folder: RunFolder,
    *,
    writer: str | None,
    budget: int,
    count: int,
    seed: int,
    shots: int,
) -> tuple[list[Candidate], int]:
    """The prompts that an optimiser of dspy comes to, and how many episodes that took.

    Episodes and what was written are kept in the run's folder, so that a search that resumes asks
    for none of them again.

    Args:
        trials: how the policy is played. examples: training cases.
        writer: the policy that writes instructions; by default the one that is tuned.
        budget: the most episodes of training cases.
    """
    from .dspy_search import Writer, proposed

    played = trials.evaluation.policy
    episodes = TrainingEpisodes(
        trials.evaluation, examples, trials.rules, budget, trials.lenient,
        Kept(folder.path / "training-episodes.jsonl"), trials.advance,
    )  # fmt: skip
    author: Policy = played if writer is None else ready(load_policy(writer))
    if author.needs_gold:
        raise UserError(
            f"{author.spec} plays with the gold answer and writes no prompt; fix: name a model by "
            "--writer"
        )
    with nullcontext() if author is played else closing(author):
        found = proposed(
            name.removeprefix("dspy:"), episodes,
            Writer(author, seed, Kept(folder.path / "written.jsonl")), count=count, seed=seed,
            shots=shots,
        )  # fmt: skip
    return found, len(episodes.kept)
