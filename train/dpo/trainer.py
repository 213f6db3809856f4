"""DPO on pairs of episodes, optimised by TRL.

`PairTrainer` replaces how TRL's `DPOTrainer` prepares its data, which would render and tokenise
messages anew: batches come from `PairBatches`. It sums up the loss from TRL's own and further
terms, pair by pair where pairs have weights. The methods replaced are private: the minor version of
TRL is pinned and `SEAMS` are checked before anything runs.

The reference is the policy as training begins, which is held in the first step. Only
`sync_ref_model` moves it after that.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import trl
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file
from trl import DPOConfig, DPOTrainer

from medgym.errors import RunError, UserError
from medgym.local_model import LocalModel
from medgym.progress import progress
from medgym.storage.adapters import WEIGHTS

from ..grpo.evaluation import EvaluatesEpisodes, HeldOut
from ..grpo.rollouts import StepRollouts
from ..models.checkpoint import WholeCheckpoints
from ..models.precision import LearnsInFloat32, learn_in_float32
from ..run.processes import everyone, in_order, share
from .batches import PairBatches
from .loss import PAIR, Batch, Outputs, further_terms
from .tables import SORTED, TermsTable
from .watch import LESS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SUPPORTED_TRL = "1.16"
SEAMS = {
    "_compute_loss": "(self, model, inputs, return_outputs)",
    "compute_ref_log_probs": "(self, model, inputs)",
    "_precompute_ref_logps": "(self, dataset: datasets.arrow_dataset.Dataset, name: str, "
    "batch_size: int) -> datasets.arrow_dataset.Dataset",
}

REFERENCE = "reference.pt"
"""In a checkpoint: the reference, where `sync_ref_model` moves it."""

FAR, FAR_IN_16_BITS = 1e-3, 0.1
"""Nats a token by which policy and reference may differ in the first step: they are the same model,
but a reference that was computed before was padded otherwise."""


def check_trl() -> None:
    """Refuse a TRL whose private seams are not those that this module replaces."""
    same = all(
        str(inspect.signature(getattr(DPOTrainer, name))) == said for name, said in SEAMS.items()
    )
    if not trl.__version__.startswith(SUPPORTED_TRL + ".") or not same:
        raise UserError(
            f"trl {trl.__version__} is not supported; fix: pip install 'trl=={SUPPORTED_TRL}.*'"
        )


class PairTrainer(EvaluatesEpisodes, LearnsInFloat32, WholeCheckpoints, DPOTrainer):
    """TRL's `DPOTrainer` on pairs of episodes.

    Args:
        batches: makes the batches, which have third rows where `terms.image` is above 0.
        terms: what the loss is summed up from.
        weights: of each pair's loss.
        start: an adapter's folder, whose weights the new adapter begins with. It is the reference
            too, whose log-probabilities are then computed beforehand.
        held_out: what the policy is judged on where `args` ask for evaluation; see `judged_by`.
        args, model, processing_class, peft_config: as TRL's; the model has no adapter yet.

    Attributes:
        chosen_change: by how many nats a token of the chosen replies is likelier than at the start,
            on average over the last batch.
    """

    chosen_change: float | None = None
    less = LESS
    log_completions = False
    publisher = None

    def __init__(
        self,
        *,
        batches: PairBatches,
        terms: TermsTable,
        weights: torch.Tensor,
        args: DPOConfig,
        model: "PreTrainedModel",
        start: Path | None = None,
        held_out: HeldOut | None = None,
        **kwargs: Any,
    ) -> None:
        check_trl()
        from datasets import Dataset

        given: object = model
        if isinstance(given, PeftModel):
            raise UserError(
                "the reference would be the base below an adapter, and not the policy as DPO "
                "begins; fix: give the base, and the adapter as its start"
            )
        adapts = kwargs.get("peft_config") is not None
        before = args.precompute_ref_log_probs or start is not None
        if not adapts and not before:  # TRL would load the files that the model once came from
            learn_in_float32(model, whole=True)
            kwargs["ref_model"] = deepcopy(model).requires_grad_(False)
        self._uniform = bool((weights == weights[0]).all()) and float(weights[0]) == 1.0
        if not self._uniform and SORTED & set(args.loss_type):
            raise UserError(
                "[pairs] weight weights single pairs, and the losses aot sort them; fix: another "
                "[dpo] loss_type"
            )
        if held_out is not None:
            named = [[{"role": "user", "content": str(n)}] for n in range(len(held_out.cases))]
            kwargs["eval_dataset"] = Dataset.from_list([{"prompt": prompt} for prompt in named])
        super().__init__(
            model=model,
            args=args,
            train_dataset=Dataset.from_dict({PAIR: list(range(len(batches.pairs)))}),
            data_collator=batches,
            **kwargs,
        )
        self.held_out = held_out
        self._config = args
        self.learner: Any = self.model
        self._batches = batches
        self._terms = terms
        self._weights = weights.to(args.device)
        self.precompute_ref_logps = True  # for TRL's loss, which takes them from its inputs
        self._references: torch.Tensor | None = None
        if start is not None:
            _load_adapter(self.learner, start)
        if before:
            self._references = self._precomputed()

    def judged_by(self, policy: LocalModel, rollouts: StepRollouts) -> None:
        """Have evaluations play the held-out cases by `policy`, over the model in training."""
        self._policy, self._rollouts = policy, rollouts

    def note(self, figures: Mapping[str, float]) -> None:
        """Log figures with the next step, those of all processes already."""
        for name, value in figures.items():
            self._metrics["train"][name].append(value)

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        """TRL's are of two columns, and kept in files of the data set; see `_precomputed`."""
        return dataset

    def _precomputed(self) -> torch.Tensor:
        """What the policy, as it is now, says of every pair: (pairs, columns).

        Each process computes its share.
        """
        size = self._config.precompute_ref_batch_size or self._config.per_device_train_batch_size
        mine = share(range(len(self._batches.pairs)))
        rows: list[list[float]] = []
        kept, self.ref_model = self.ref_model, self.learner  # TRL leaves its adapter switched on
        try:
            with progress("reference", len(mine)) as advance:
                for at in range(0, len(mine), size):
                    numbers = mine[at : at + size]
                    batch = self._prepare_inputs(self._batches([{PAIR: n} for n in numbers]))
                    rows += self._reference(batch).tolist()
                    advance(len(numbers))
        finally:
            self.ref_model = kept
        return torch.tensor(in_order(everyone(rows)), device=self.args.device)

    def _reference(self, batch: Batch) -> torch.Tensor:
        """What the reference says of a batch: (pairs, columns), chosen, rejected, third rows."""
        count = len(batch[PAIR])
        passed: list[Outputs] = []

        def model(**_: Any) -> Any:
            passed.append(Outputs(self.ref_model or self.model, batch))
            return passed[0].of(torch.arange(2 * count))

        plain: Any = self
        found = [*plain.compute_ref_log_probs(model, _head(batch, torch.arange(2 * count)))]
        if len(batch["input_ids"]) > 2 * count:
            found.append(passed[0].logps[2 * count :])
        return torch.stack([each.detach() for each in found], dim=1)

    def _compute_loss(self, model: Any, inputs: Batch, return_outputs: bool) -> Any:
        """The mean over pairs of their weights times their weighted terms."""
        numbers = inputs[PAIR]
        count = len(numbers)
        held = self._references
        references = self._reference(inputs) if held is None else held[numbers]
        outputs = Outputs(model, inputs, router_logits=self.aux_loss_enabled)
        if self.state.global_step == 0 and self._config.disable_dropout and self.learner.training:
            self._hold_start(outputs, references)
        weights = self._weights[numbers]
        every = torch.arange(2 * count)
        with self._without_aux_loss():
            loss = self._trls(outputs, inputs, references, every)
            if not self._uniform and self._terms.dpo:
                with self._no_metrics():
                    each = [
                        self._trls(outputs, inputs, references, torch.tensor([n, count + n]))
                        for n in range(count)
                    ]
                loss = (torch.stack(each) * weights).mean()
        terms = {"dpo": loss}
        for name, of_pairs in further_terms(self._terms, self.beta, outputs, references).items():
            terms[name] = (of_pairs * weights).mean()
        total = sum(getattr(self._terms, name) * value for name, value in terms.items())
        if self.aux_loss_enabled:
            total = total + self.router_aux_loss_coef * outputs.all.aux_loss
            self._note("aux_loss", outputs.all.aux_loss)
        self._note_pairs(outputs, references, weights, terms)
        if self._terms.image:
            same = [float(int(number) in self._batches.unchanged) for number in numbers]
            self._note("pairs/unchanged_images", torch.tensor(same, device=weights.device))
        return (total, outputs.all) if return_outputs else total

    def _trls(
        self, outputs: Outputs, inputs: Batch, references: torch.Tensor, rows: torch.Tensor
    ) -> torch.Tensor:
        """TRL's loss of some rows, those of chosen episodes before those of rejected ones."""
        pairs = rows[: len(rows) // 2]
        asked = _head(inputs, rows) | {
            "attention_mask": inputs["attention_mask"],  # it counts the tokens of all rows
            "ref_chosen_logps": references[pairs, 0],
            "ref_rejected_logps": references[pairs, 1],
        }
        plain: Any = super()
        loss: torch.Tensor = plain._compute_loss(lambda **_: outputs.of(rows), asked, False)
        return loss

    def _hold_start(self, outputs: Outputs, references: torch.Tensor) -> None:
        """Insist, before the first step, that the reference is the policy.

        Raises:
            RunError: it is not.
        """
        if self.ld_alpha is not None:  # those are of parts of the replies
            return
        said = outputs.logps.detach()[: 2 * len(references)]
        apart = (said - references[:, :2].T.flatten()).abs() / outputs.tokens[: len(said)]
        plain = self.accelerator.mixed_precision in (None, "no") and all(
            weight.dtype == torch.float32 for weight in self.learner.parameters()
        )
        if float(apart.max()) > (FAR if plain else FAR_IN_16_BITS):
            raise RunError(
                "the reference is not the policy as DPO begins: before the first step they differ "
                f"by {float(apart.max()):.2g} nats a token; fix: begin with an adapter that adds "
                "nothing, or name it as the start"
            )

    @contextmanager
    def _without_aux_loss(self) -> Iterator[None]:
        """TRL would add it in each of its calls."""
        kept, self.aux_loss_enabled = self.aux_loss_enabled, False
        try:
            yield
        finally:
            self.aux_loss_enabled = kept

    @contextmanager
    def _no_metrics(self) -> Iterator[None]:
        """TRL has noted those of the whole batch."""
        kept = self._metrics, self._total_train_tokens
        self._metrics = {mode: type(found)(list) for mode, found in kept[0].items()}
        try:
            yield
        finally:
            self._metrics, self._total_train_tokens = kept

    def _note(self, name: str, value: torch.Tensor) -> float:
        """Log the mean of a figure over what all processes have."""
        mode = "train" if self.learner.training else "eval"
        mean = float(self.accelerator.gather(value.detach().float()).mean())
        self._metrics[mode][name].append(mean)
        return mean

    def _note_pairs(
        self,
        outputs: Outputs,
        references: torch.Tensor,
        weights: torch.Tensor,
        terms: dict[str, torch.Tensor],
    ) -> None:
        count = len(references)
        said, tokens = outputs.logps.detach()[:count], outputs.tokens[:count]
        ratios = said - references[:, 0]
        self._note("logps/chosen_per_token", said / tokens)
        self.chosen_change = self._note("logps/chosen_change", ratios / tokens)
        if not self._uniform:
            self._note("pairs/weight", weights)
        if len(terms) > 1:
            for name, value in terms.items():
                self._note(f"loss/{name}", value)
        if references.shape[1] > 2:
            other = outputs.logps.detach()[2 * count :] - references[:, 2]
            self._note("rewards/other", self.beta * other)
            self._note("rewards/other_accuracies", (ratios > other).float())

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """With them the reference, where it moves: a resumed run has not begun with that one."""
        plain: Any = super()
        plain._save_optimizer_and_scheduler(output_dir)
        if self._config.sync_ref_model and self.args.should_save:
            moved = self.accelerator.unwrap_model(self.ref_model).state_dict()
            torch.save(moved, Path(output_dir) / REFERENCE)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        plain: Any = super()
        plain._load_optimizer_and_scheduler(checkpoint)
        if self._config.sync_ref_model and checkpoint is not None:
            moved = torch.load(Path(checkpoint) / REFERENCE, self.args.device, weights_only=True)
            self.accelerator.unwrap_model(self.ref_model).load_state_dict(moved)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One pass and its gradients.

        Raises:
            RunError: the loss is not a number; transformers would log the mean of the others.
        """
        plain: Any = super()
        loss: torch.Tensor = plain.training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise RunError(
                f"the loss of step {self.state.global_step + 1} is {float(loss)}; fix: a lower "
                "[dpo] learning_rate, or max_grad_norm"
            )
        return loss


def _head(batch: Batch, rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """What TRL's loss reads of some rows of a batch, beside the model's outputs."""
    return {name: batch[name][rows] for name in ("input_ids", "attention_mask", "completion_mask")}


def _load_adapter(model: Any, folder: Path) -> None:
    """Give the adapter in training the weights of a stored one.

    Raises:
        UserError: it is of another shape.
    """
    learn_in_float32(model, whole=False)
    stored = load_file(folder / WEIGHTS)
    try:
        found: Any = set_peft_model_state_dict(model, stored, adapter_name="default")
        unknown = found.unexpected_keys
    except RuntimeError:
        unknown = [str(folder)]
    own = {name for name, _ in model.named_parameters() if ".default." in name}
    if unknown or len(own) != len(stored):
        raise UserError(
            f"the adapter {folder} is of another shape than [lora] asks for; fix: begin with one "
            "that was trained by the same [lora]"
        )
