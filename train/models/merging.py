"""Adapters merged into their base: an ordinary checkpoint.

The sum is made in float32 and cast back once to the type of the base. An adapter's entries are
often smaller than half a step of a 16-bit base, and those vanish in the cast; how much, is said.
"""

import json
import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer

from medgym.errors import RunError, UserError
from medgym.failures import reason_of
from medgym.local_model import local_model
from medgym.model_options import DEFAULTS, ModelOptions
from medgym.models import add_adapter
from medgym.storage.adapters import CONFIG, check_fit, final, published
from medgym.storage.layout import Place, base_in_run
from medgym.storage.run_folder import RunFolder

from ..recipe.schema import parse_recipe
from .checkpoint import load_model, save_model
from .precision import learn_in_float32

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOG = logging.getLogger("medgym")

LOSS = 0.05
"""The share of what an adapter adds that a cast may lose without a word: the projection of what is
stored on what was added, against 1."""


def merged(adapted: PeftModel, name: str | None = None) -> "PreTrainedModel":
    """The model with an adapter merged in, in float32 and cast back once.

    A warning says how much of the adapter the cast loses, if that is more than `LOSS`.

    Args:
        adapted: is taken apart. name: of the adapter; by default the active one.

    Raises:
        RunError: the adapter holds values that are no numbers.
    """
    layers = [each for each in adapted.modules() if isinstance(each, BaseTunerLayer)]
    weights = {id(w): w for layer in layers for w in layer.get_base_layer().parameters()}
    before = {key: weight.data for key, weight in weights.items()}
    for layer in layers:
        learn_in_float32(layer.get_base_layer(), whole=True)
    try:
        whole: PreTrainedModel = adapted.merge_and_unload(
            safe_merge=True, adapter_names=None if name is None else [name]
        )
    except ValueError as error:
        raise RunError(
            f"the adapter cannot be merged ({reason_of(error)[:160]}); fix: train it again with a "
            "lower learning rate"
        ) from error
    added = kept = 0.0
    for key, weight in weights.items():
        was = before.pop(key)
        if weight.dtype != was.dtype:
            sum_, weight.data = weight.data, weight.data.to(was.dtype)
            given, found = sum_ - was, weight.data.float() - was
            added += float(given.square().sum())
            kept += float((given * found).sum())
    if added and 1 - kept / added > LOSS:
        LOG.warning(
            "casting the merged weights back to 16 bits loses %.0f %% of what the adapter adds; "
            'dtype = "float32" keeps all of it',
            100 * (1 - kept / added),
        )
    return whole


def merged_into(base: "PreTrainedModel", adapted: PeftModel) -> "PreTrainedModel":
    """Another copy of an adapted model's base with the adapter merged in: a quantized base itself
    takes none, since each sum would be rounded to its few levels."""
    with TemporaryDirectory() as folder:
        adapted.save_pretrained(folder)
        whole: object = add_adapter(base, Path(folder), "default")
    assert isinstance(whole, PeftModel)
    return merged(whole)


def merge(adapter: Path, out: Path) -> Path:
    """Merge an adapter into its base and write an ordinary checkpoint, processor included.

    The base is loaded as its run loaded it, but never quantized.

    Args:
        adapter: a PEFT adapter's folder, or a run's, whose best or newest adapter is taken.
        out: where the checkpoint goes; must not exist.

    Raises:
        UserError: no adapter there, its base is not there or another one, or `out` exists.
        RunError: the adapter holds values that are no numbers.
    """
    if out.exists():
        raise UserError(f"{out} exists; fix: choose another name or remove it")
    if (adapter / "adapters").is_dir():
        versions = [
            version
            for folder in sorted((adapter / "adapters").iterdir())
            for version in published(adapter, folder.name)
        ]
        if len({version.role for version in versions}) > 1:
            raise UserError(
                f"{adapter} has adapters of several roles; fix: name one, such as "
                f"{versions[-1].path}"
            )
        found = final(adapter, versions[-1].role) if versions else None
        adapter = found.path if found is not None else adapter
    elif Place(adapter).cold_start.is_dir():
        raise UserError(
            f"{adapter} was trained without an adapter; fix: use {Place(adapter).model}, which is "
            "an ordinary checkpoint"
        )
    base, options = base_of(adapter)
    if base.is_dir():
        check_fit(adapter, base)
    model, processor = load_model(base if base.is_dir() else str(base), options.whole)
    player = local_model(model, processor)
    player.with_adapter("merged", adapter)
    adapted: object = player.model
    assert isinstance(adapted, PeftModel)
    save_model(merged(adapted, "merged"), processor, out)
    return out


def base_of(adapter: Path) -> tuple[Path, ModelOptions]:
    """The base that an adapter was trained over, and how it is loaded.

    In a run the base is the cold start, loaded as the recipe says; elsewhere it is as PEFT noted.

    Raises:
        UserError: there is no adapter, or it does not say.
    """
    try:
        noted = json.loads((adapter / CONFIG).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"no adapter in {adapter} (no readable {CONFIG}); fix: name a folder that PEFT saved"
        ) from error
    own = base_in_run(adapter)  # a run may have moved since
    if own is not None:
        return own, _options_of(own.parent)
    named = noted.get("base_model_name_or_path")
    if not named:
        raise UserError(f"{adapter} does not name its base; fix: set it in {CONFIG}")
    base = Path(named)
    revision = "" if base.is_dir() else noted.get("revision") or ""
    return base, ModelOptions(revision=revision)


def _options_of(run: Path) -> ModelOptions:
    """How a run loads its cold start; by default where the run has no recipe."""
    if not (run / "manifest.json").is_file():
        return DEFAULTS
    recipe = RunFolder.open(run).manifest.get("recipe")
    if not isinstance(recipe, dict):
        return DEFAULTS
    return parse_recipe(recipe, str(run / "recipe.toml")).model.options.in_run
