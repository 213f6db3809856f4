"""Which parts of a model learn; LoRA adapters: how they are saved and published.

An adapter is an ordinary PEFT adapter: plain PEFT loads it. A version is written once and whole, to
`adapters/ROLE/STEP` in the run's folder, and samplers elsewhere load it from there.
"""

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from peft import LoraConfig, get_peft_model_state_dict
from peft.tuners.tuners_utils import check_target_module_exists
from safetensors.torch import load_file

from medgym.errors import UserError
from medgym.failures import reason_of
from medgym.policy import Policy
from medgym.storage.adapters import WEIGHTS, Samplers, Version, content, publish, published
from medgym.storage.atomic import UNFINISHED, check_writable, remove

from ..recipe.schema import ModelPart

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROJECTORS = {
    "multi_modal_projector",
    "merger",
    "deepstack_merger_list",
    "embed_vision",  # Gemma 4
    "image_newline",  # LLaVA-OneVision: one vector, a feature at the end of each row of tiles
}
TOWERS = {"visual", "vision_tower", "vision_model"}
AUDIO = {"audio_tower", "embed_audio"}
"""The names, in transformers' vision-language models, of the parts that are not the language model.
In Qwen's and GLM's models the projector is inside the tower."""


def part_of(name: str) -> ModelPart | Literal["audio"]:
    """Which part of a model a module or weight belongs to, by its dotted name. Audio never learns:
    no episode has any."""
    path = set(name.split("."))
    if path & AUDIO:
        return "audio"
    if path & PROJECTORS:
        return "projector"
    return "vision" if path & TOWERS else "language"


def parameters_of(model: "PreTrainedModel", parts: Sequence[ModelPart]) -> list[torch.nn.Parameter]:
    """The weights of some parts of a model."""
    return [weight for name, weight in model.named_parameters() if part_of(name) in parts]


def only(model: "PreTrainedModel", parts: Sequence[ModelPart]) -> None:
    """Let these parts of a model learn, and no others; for training without an adapter."""
    for name, weight in model.named_parameters():
        weight.requires_grad_(part_of(name) in parts)


def targets(model: "PreTrainedModel", parts: Sequence[ModelPart]) -> dict[str, Any]:
    """The keys of `LoraConfig` that name every linear layer of some parts of a model.

    The layer that makes the scores of the next token is none of them. Gemma 3's projector is one
    bare matrix, which PEFT adapts by another key.

    Raises:
        UserError: a part has neither linear layers nor such a matrix.
    """
    leaves: dict[tuple[str, str], set[str]] = {}
    head = model.get_output_embeddings()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and module is not head:
            numbered = re.search(r"\.\d+\.", name)  # the layer or the block
            root = name[: numbered.start()] if numbered else name.rpartition(".")[0]
            leaves.setdefault((part_of(name), root), set()).add(name.rpartition(".")[2])
    patterns, bare = [], []
    for part in parts:
        roots = sorted(root for each, root in leaves if each == part)
        for root in roots:
            last = "|".join(map(re.escape, sorted(leaves[part, root])))
            patterns.append(rf"{re.escape(root)}\.(?:.*\.)?(?:{last})")
        if not roots:
            matrices = (name for name, w in model.named_parameters() if w.ndim == 2)
            found = [name for name in matrices if part_of(name) == part == "projector"]
            if not found:
                raise UserError(
                    f"{type(model).__name__} has no layers to adapt in its {part} part; fix: "
                    "leave it out of [model] adapt, or name layers by [lora] target_modules"
                )
            bare += found
    named: dict[str, Any] = {"target_modules": "|".join(patterns)} if patterns else {}
    return named | ({"target_parameters": bare} if bare else {})


def lora_config(
    model: "PreTrainedModel", lora: Mapping[str, Any], parts: Sequence[ModelPart]
) -> LoraConfig:
    """`[lora]` as PEFT takes it. If it names no layers, all linear ones of `parts` are adapted.

    Raises:
        UserError: PEFT refuses a value, or the model lacks what is named.
    """
    keys = dict(lora)
    if not {"target_modules", "target_parameters"} & keys.keys():
        keys |= targets(model, parts)
    try:
        return LoraConfig(**({"task_type": "CAUSAL_LM"} | keys))
    except (TypeError, ValueError) as error:
        raise UserError(f"PEFT refuses [lora]: {reason_of(error)}; fix: correct it") from error


def check_targets(
    model: "PreTrainedModel", lora: Mapping[str, Any], parts: Sequence[ModelPart], table: str
) -> None:
    """Make sure that a model has a layer of those that `table` names, if it names any.

    Raises:
        UserError: it has none, or PEFT cannot read what is named.
    """
    named = lora.get("target_modules")
    if named is None or named == "all-linear":
        return
    config = lora_config(model, lora, parts)
    try:
        hit = any(check_target_module_exists(config, name) for name, _ in model.named_modules())
    except (TypeError, re.error) as error:
        raise UserError(
            f"[{table}] target_modules: {reason_of(error)}; fix: a list of names, or a regular "
            "expression of whole names"
        ) from error
    if not hit:
        raise UserError(
            f"[{table}] target_modules names no layer of the model; fix: name some, or remove it, "
            "and all linear layers of [model] adapt learn"
        )


def save_adapter(model: "PreTrainedModel", run: Path, role: str, step: int) -> Version:
    """Publish a model's adapter as a version of its run: whole or not at all.

    Raises:
        UserError: another adapter was published under that step.
        OSError: it cannot be written.
    """
    check_writable(run / "adapters" / role)
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=run) as folder:
        model.save_pretrained(folder, selected_adapters=["default"])
        return publish(Path(folder), run, role, step)


def forget_after(run: Path, role: str, step: int, sampler: Policy | None = None) -> None:
    """Drop versions of steps that a resumed run repeats, from the disk and from a sampler."""
    for version in published(run, role):
        if version.step > step:
            if sampler is not None:
                sampler.drop_adapter(version.name)
            remove(version.path)


class Following:
    """A sampler elsewhere that follows the adapter in training, for `LookingTrainer`.

    Args:
        sampler: plays by the base, and by adapters that it loads while it runs.
        run: the run's folder. role: whose adapter.
        every: steps between two versions. A step is played by the newest one, step 0 by the base.
        saves: whether this process writes the versions; others wait for them.
        wait: called when a version is due, before and after it is written; meets other processes.
    """

    def __init__(
        self,
        sampler: Policy,
        run: Path,
        role: str,
        every: int = 1,
        *,
        saves: bool = True,
        wait: Callable[[], object] = lambda: None,
    ) -> None:
        self._sampler = sampler
        self._samplers = Samplers([sampler], keep=1)  # no episode outlasts its step
        self._run = run
        self._role = role
        self._every = every
        self._saves = saves
        self._wait = wait
        self._playing: tuple[int, Policy] = (0, sampler)
        self._version: Version | None = None
        self._held: int | None = None
        self._judged: str | None = None

    def player(self, model: "PreTrainedModel", step: int) -> Policy:
        """The policy that plays a step's episodes.

        Raises:
            UserError: the sampler cannot load the adapter.
        """
        due = step - step % self._every
        if due != self._playing[0]:
            self._wait()
            there = {version.step: version for version in published(self._run, self._role)}
            if due not in there and self._saves:
                # A resumed run begins within an interval whose version it wrote before.
                there[due] = save_adapter(model, self._run, self._role, due)
            self._wait()
            version = there.get(due) or Version(
                self._role, due, self._run.resolve() / "adapters" / self._role / str(due)
            )
            self._playing = (due, self._samplers.load(version)[0])
            self._version = version
            self._drop_judged()
        return self._playing[1]

    @contextmanager
    def judged(self, model: "PreTrainedModel", step: int) -> Iterator[Policy]:
        """The policy of the model's present weights, which is evaluated.

        Its adapter is no version: it lies apart, and is gone afterwards. So the steps are played by
        the same versions as without an evaluation, and the sampler never holds more than two.
        """
        name = f"{self._role}-judged-{step}"
        path = self._run.resolve() / "adapters" / ".judged" / name
        self._wait()
        if self._saves:
            remove(path)  # of a run that was killed
            model.save_pretrained(path, selected_adapters=["default"])
        self._wait()
        # A server may outlive a run that was killed, and hold what that one judged at this step.
        name += "-" + hashlib.sha256(f"{path} {content(path)}".encode()).hexdigest()[:8]
        # Loaded before the last one is dropped: PEFT's models need one adapter at least.
        policy = self._sampler.with_adapter(name, path)
        if self._judged != name:
            self._drop_judged()
        self._judged = name
        yield policy
        # Not after an error: processes without one would not come here.
        self._wait()
        if self._version is not None:
            self._drop_judged()
        if self._saves:
            remove(path.parent)

    def _drop_judged(self) -> None:
        if self._judged is not None:
            self._sampler.drop_adapter(self._judged)
        self._judged = None

    @property
    def handed_out(self) -> tuple[int, str]:
        """The step whose weights the sampler was given last, and their version's name."""
        version = self._sampler.version if self._version is None else self._version.name
        return self._playing[0], version

    def differs(self, model: "PreTrainedModel") -> bool:
        """Whether the adapter that was written last is not the model's; a version is read once."""
        if self._version is None or self._held == self._version.step:
            return False
        self._held = self._version.step
        written = load_file(self._version.path / WEIGHTS)
        own = get_peft_model_state_dict(model, adapter_name="default", save_embedding_layers=False)
        return not all(
            name in written and torch.equal(written[name], weight.detach().cpu())
            for name, weight in own.items()
        )
