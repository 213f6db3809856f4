"""`[dpo.terms]` and `[dpo.images]`: what is summed up to the loss, and which images are exchanged.

The other keys of `[dpo]` are those of `trl.DPOConfig`; see `settings`.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from medgym.errors import UserError, unknown
from medgym.toml import read_table

from ..recipe.settings import Keys
from .settings import LOSSES, SETTINGS, losses_of

OWN = ("terms", "images", "rounds", "later")
"""The keys of `[dpo]` that are medgym's."""

REFERENCES = ("ref_model", "reference", "ref")
"""What the key of another reference might be called."""

SORTED = {"aot", "aot_unpaired"}
"""Losses that compare sorted pairs, so that none has a loss of its own."""

Weight = Literal["uniform", "score", "margin"]
"""By what a pair's loss is weighted: all alike, `Pair.score`, or `Pair.margin`."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TermsTable(_Table):
    """`[dpo.terms]`: the weights of what the loss of a pair is summed up from.

    With r(y) = log p(y) of the policy minus that of the reference, over the tokens of a reply:

    Attributes:
        dpo: TRL's loss, by `[dpo] loss_type`.
        image: -log sigmoid(beta [r(chosen) - r(chosen words, other images)]) (CoPO).
        anchor: -log sigmoid(beta r(chosen)) (mDPO).
        nll: -log p(chosen) of the policy, for each of its tokens.
    """

    dpo: float = Field(default=1.0, ge=0)
    image: float = Field(default=0.0, ge=0)
    anchor: float = Field(default=0.0, ge=0)
    nll: float = Field(default=0.0, ge=0)


class ImagesTable(_Table):
    """`[dpo.images]`: the images of the term `image`.

    Attributes:
        which: are exchanged: all, those that tools showed, or those of the question.
        how: by a crop of 1 to 20 % in the same size, noise in the gold region, an image of another
            case in the same size, or grey.
    """

    which: Literal["all", "views", "overview"] = "all"
    how: Literal["crop", "noise", "other", "blank"] = "crop"


class _Rounds(_Table):
    rounds: int = Field(default=1, ge=1)


def terms_of(dpo: Keys) -> TermsTable:
    """The weights of the terms, of a `[dpo]` that was checked."""
    return TermsTable.model_validate(dpo.get("terms", {}))


def images_of(dpo: Keys) -> ImagesTable:
    """Which images the term `image` exchanges, of a `[dpo]` that was checked."""
    return ImagesTable.model_validate(dpo.get("images", {}))


def library_keys(dpo: Keys) -> Keys:
    """The keys of `trl.DPOConfig` among those of `[dpo]`."""
    return {key: value for key, value in dpo.items() if key not in OWN}


def of_later(dpo: Keys) -> Keys:
    """`[dpo]` of the rounds after the first: with the keys of `[dpo.later]` over its own."""
    later: Keys = dpo.get("later", {})
    long = ("max_steps", "num_train_epochs")  # of which one says how long
    kept = {k: v for k, v in dpo.items() if not (k in long and {*long} & {*later})}
    return kept | later


def check_table(dpo: Keys, lora: Mapping[str, Any], where: str) -> None:
    """Check `[dpo]` and its tables.

    Args:
        lora: keys of `[lora]`. where: the recipe's file.

    Raises:
        UserError: a key or a value that is wrong, or would do nothing.
    """
    for key in REFERENCES:
        if key in dpo:
            raise UserError(
                f"{where}: dpo.{key} is refused: the reference is the policy as DPO begins, which "
                "no other model stands for; fix: remove it"
            )
    keys = library_keys(dpo)
    SETTINGS.check(keys, where)
    own = {key: dpo.get(key, {}) for key in ("terms", "images", "later")}
    for name, table in own.items():
        if not isinstance(table, dict):
            raise UserError(f"{where}: dpo.{name} is no table; fix: write [dpo.{name}]")
    terms = read_table(TermsTable, own["terms"], where, "dpo.terms")
    read_table(ImagesTable, own["images"], where, "dpo.images")
    read_table(_Rounds, {k: v for k, v in dpo.items() if k == "rounds"}, where, "dpo")
    _check_losses(keys, terms, where)
    if "later" in dpo:
        SETTINGS.check(own["later"], where, "dpo.later", beside=keys)
        _check_losses(library_keys(of_later(dpo)), terms, where)
        if dpo.get("rounds", 1) < 2:
            raise UserError(
                f"{where}: [dpo.later] does nothing without several rounds; fix: set dpo.rounds, "
                "or remove it"
            )
    if "images" in dpo and not terms.image:
        raise UserError(
            f"{where}: [dpo.images] does nothing without the term image; fix: set dpo.terms.image, "
            "or remove it"
        )
    if not (terms.dpo or terms.image or terms.anchor or terms.nll):
        raise UserError(f"{where}: every weight of [dpo.terms] is 0; fix: set one above 0")
    if keys.get("sync_ref_model") and (lora or keys.get("precompute_ref_log_probs")):
        other = "[lora], whose reference is the base below it"
        if not lora:
            other = "dpo.precompute_ref_log_probs"
        raise UserError(
            f"{where}: dpo.sync_ref_model moves the reference and does not go with {other}; fix: "
            "remove one of them"
        )


def _check_losses(keys: Keys, terms: TermsTable, where: str) -> None:
    named = keys.get("loss_type", "sigmoid")
    listed = [named] if isinstance(named, str) else named
    if not isinstance(listed, list) or not listed:
        raise UserError(f"{where}: dpo.loss_type: {named!r}; fix: a name, or a list of names")
    for loss in listed:
        if loss not in LOSSES:
            raise unknown(f"loss in {where}:", f"{loss}", LOSSES)
    weights = keys.get("loss_weights")
    numbers = isinstance(weights, list) and all(type(w) in (int, float) for w in weights)
    if weights is not None and (not numbers or len(weights) != len(listed)):
        raise UserError(
            f"{where}: dpo.loss_weights: {weights!r} is not a number for each of {len(listed)} "
            "losses; fix: a list of them"
        )
    beta = keys.get("beta")
    if beta == 0:
        raise UserError(f"{where}: dpo.beta: 0, so nothing is preferred; fix: a number above 0")
    for key in ("ld_alpha", "f_divergence_type"):
        if key in keys and (terms.image or terms.anchor):
            raise UserError(
                f"{where}: dpo.{key} changes only TRL's loss, and dpo.terms.image and anchor are "
                "without it; fix: remove one of them"
            )
    alpha = keys.get("ld_alpha")
    if alpha is not None and not 0 <= alpha <= 1:
        raise UserError(f"{where}: dpo.ld_alpha: {alpha}; fix: a number from 0 to 1")
    smoothing = keys.get("label_smoothing", 0.0)
    losses = losses_of(keys)
    if "exo_pair" in losses and not 0 < smoothing < 1:
        raise UserError(
            f"{where}: dpo.label_smoothing: {smoothing}; fix: a number above 0 and below 1 for the "
            "loss exo_pair, as 1e-3"
        )
    if "robust" in losses and not 0 <= smoothing < 0.5:
        raise UserError(
            f"{where}: dpo.label_smoothing: {smoothing}; fix: a number from 0 to below 0.5 for the "
            "loss robust"
        )
    if keys.get("use_weighting") and SORTED & set(losses):
        raise UserError(
            f"{where}: dpo.use_weighting weights single pairs, and the losses aot sort them; fix: "
            "remove one of them"
        )
