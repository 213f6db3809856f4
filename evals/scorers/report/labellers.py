"""Reports compared by models that a user has installed: RadGraph and CheXbert.

Neither comes with medgym, and medgym fetches no weights: both packages fetch theirs when they are
first used, so they are loaded here with the network switched off. What is missing is one line.
They read English reports of the chest, and no other.

- RadGraph (package `radgraph`, Jain 2021): F1 of entities and relations, reward level "partial".
- CheXbert (package `f1chexbert`, Smit 2020): micro F1 of 14 labels, uncertain counted as present,
  as in the packages for report generation; and of the 5 labels that papers report.
"""

import importlib
import os
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from medgym.errors import UserError, unknown
from medgym.metrics.groups import Floats
from medgym.metrics.intervals import Interval, mean_interval

from ...statistics.sums import figure_interval

PACKAGES = {"radgraph": "radgraph", "chexbert": "f1chexbert"}
"""The labellers by name, and the package that each comes with."""

Figures = Mapping[str, Interval]
Labeller = Callable[[Sequence[str], Sequence[str], Sequence[Hashable]], Figures]
"""Takes the reports, the golds, and what each case belongs to; gives figures by name."""


def load_labeller(name: str, load: Callable[[str], Any] = importlib.import_module) -> Labeller:
    """The labeller of a name, with its model in memory.

    Args:
        name: `radgraph` or `chexbert`.
        load: imports a package.

    Raises:
        UserError: there is none of this name, its package is not installed, or its weights are not
            on this machine.
    """
    if name not in PACKAGES:
        raise unknown("labeller", name, PACKAGES)
    package = PACKAGES[name]
    try:
        module = load(package)
    except ImportError as error:
        raise UserError(
            f"the labeller {name} needs the package {package}, which cannot be imported "
            f"({error}); fix: pip install {package}, or omit {name}"
        ) from error
    kind = "F1RadGraph" if name == "radgraph" else "F1CheXbert"
    try:
        with without_network():
            if name == "radgraph":
                model = getattr(module, kind)(reward_level="partial")
                return lambda reports, golds, groups: radgraph(model, reports, golds, groups)
            model = getattr(module, kind)()
            return lambda reports, golds, groups: chexbert(model, reports, golds, groups)
    except Exception as error:
        raise UserError(
            f"the model of {name} cannot be loaded ({type(error).__name__}: {error}), and medgym "
            f"fetches no weights; fix: run it once by itself where there is a network: python -c "
            f"'import {package}; {package}.{kind}()'"
        ) from error


def radgraph(
    model: Any, reports: Sequence[str], golds: Sequence[str], groups: Sequence[Hashable]
) -> Figures:
    """F1 of RadGraph's entities and relations, a mean over reports."""
    each = model(hyps=list(reports), refs=list(golds))[1]
    scores = [float(value) for value in each]
    return {"report, RadGraph F1": mean_interval(scores, groups, within=(0.0, 1.0))}


def chexbert(
    model: Any, reports: Sequence[str], golds: Sequence[str], groups: Sequence[Hashable]
) -> Figures:
    """Micro F1 of CheXbert's 14 labels, and of the 5 that papers report."""
    said = np.array([model.get_label(text or ".") for text in reports])
    wanted = np.array([model.get_label(text) for text in golds])
    five = [int(place) for place in model.target_names_5_index]
    found = {}
    for name, places in (("14", list(range(said.shape[1]))), ("5", five)):
        shared = (said & wanted)[:, places].sum(axis=1)
        both = said[:, places].sum(axis=1) + wanted[:, places].sum(axis=1)
        found[f"report, CheXbert micro F1 of {name}"] = figure_interval(
            [shared.tolist(), both.tolist()], groups, _micro_f1
        )
    return found


def _micro_f1(sums: Floats) -> Floats:
    found: Floats = 2 * sums[:, 0] / np.maximum(sums[:, 1], 1)
    return found


@contextmanager
def without_network() -> Iterator[None]:
    """Keep the Hugging Face libraries from fetching anything."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    before = {name: os.environ.get(name) for name in names}
    constants = sys.modules.get("huggingface_hub.constants")
    was = getattr(constants, "HF_HUB_OFFLINE", None)
    os.environ.update(dict.fromkeys(names, "1"))
    if constants is not None:  # it has read the environment already
        constants.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        if constants is not None:
            constants.HF_HUB_OFFLINE = was  # type: ignore[attr-defined]
