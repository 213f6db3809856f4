"""What a training run is made of, as TOML: read strictly, so that a typo cannot pass for a default.

`[lora]` and `[sft.lora]` go straight through to `peft.LoraConfig`, `[sft]` to `trl.SFTConfig`,
`[grpo]` to `trl.GRPOConfig`, `[kto]` to `trl.KTOConfig` and `[dpo]`, without its own tables, to
`trl.DPOConfig`; their keys are those classes' own. An unknown key anywhere is an error that names
the nearest one.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medgym.case_spec import file_named, parse_spec
from medgym.errors import UserError, unknown
from medgym.registry import load, names
from medgym.toml import read_table, read_toml
from medgym.tool_form import ToolFormName

from ..dpo.tables import check_table as check_dpo
from ..grpo.settings import SETTINGS as GRPO
from ..kto.settings import SETTINGS as KTO
from ..models.settings import SETTINGS as LORA
from ..sft.settings import SETTINGS as SFT
from .judge import JudgeTable
from .model import ModelPart as ModelPart
from .model import ModelTable, check_learning
from .pairs import PairsTable
from .rubric import RubricTable, rubric_of
from .settings import Keys
from .trainer_keys import refuse_sampling


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CasesPart(_Table):
    """`[[cases.train]]`: one of several sources of training cases.

    Attributes:
        spec: a case spec. weight: of its cases among those of all sources.
        name: under which its figures are logged, by default the source's own.
    """

    spec: str
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    name: str | None = None

    @property
    def label(self) -> str:
        """What it is called: its name, or that of its source or file."""
        file = file_named(self.spec)
        return self.name or (Path(file["path"]).stem if file else parse_spec(self.spec).source)


class CasesTable(_Table):
    """`[cases]`: case specs.

    Attributes:
        train: one spec, or several with weights; None where nothing but a cold start is trained.
        order: "balanced" puts every answer equally often into each step.
        overlap: whether cases may be learned from that others of the same patient, or the same
            cases, are judged by. The results say so then.
    """

    train: str | Annotated[tuple[CasesPart, ...], Field(min_length=1)] | None = None
    test: str
    order: Literal["shuffled", "balanced"] = "shuffled"
    overlap: Literal["refused", "allowed"] = "refused"

    @property
    def parts(self) -> tuple[CasesPart, ...]:
        """The specs of `train`."""
        if self.train is None:
            return ()
        return (CasesPart(spec=self.train),) if isinstance(self.train, str) else self.train


class ToolsTable(_Table):
    """`[tools]`: names of registered tools; none for a policy without tools.

    Attributes:
        form: `text` lists them in the system message and reads calls in medgym's form; `native`
            leaves both to the model's chat template.
    """

    names: tuple[str, ...] = ("zoom",)
    form: ToolFormName = "text"


class RolloutTable(_Table):
    """`[rollout]`: budgets of an episode, how replies are sampled, and what rolls out in training.

    Attributes:
        max_tokens: of one reply. max_context: of an episode, images and all; by default as many as
            the model takes. It is spent in whole turns.
        view_multiple: each side of a view is a multiple of so many pixels, as the model's image
            processor makes them (28 of Qwen2.5-VL, 32 of Qwen3-VL).
        overlong: an episode that ran out of its budgets keeps its reward (`reward`), or is neither
            punished nor trained on (`mask`).
        chat_template_kwargs: options of the chat template, as `{ enable_thinking = false }`.
        policy: an engine that samples in place of the model in training (`vllm:...`, `openai:...`);
            it gets the new adapter every `publish_every` steps.
        backend, workers, ray_address: where episodes are played, as `medgym rollout` takes them.
    """

    max_turns: int = Field(default=6, ge=1)
    max_tokens: int = Field(default=512, ge=1)
    max_context: int | None = Field(default=None, ge=1)
    view_size: int | None = None
    view_multiple: int = Field(default=1, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    overlong: Literal["reward", "mask"] = "reward"
    chat_template_kwargs: Keys = {}
    policy: str | None = None
    publish_every: int = Field(default=1, ge=1)
    backend: Literal["local", "ray"] = "local"
    workers: int = Field(default=2, ge=1)
    ray_address: str | None = None


class DemonstrationsTable(_Table):
    """`[demonstrations]`: whose episodes the cold start imitates, on which cases, which of them.

    Attributes:
        policy: a policy's spec (an oracle, a teacher as `openai:URL#MODEL`), or `self`: the base's
            own samples (rejection sampling). run: in its place, the folder of a run whose stored
            episodes are played again, word for word, in the tokens of the model that learns.
        cases: a case spec. samples: episodes of each case.
        keep: those that are learned from: `right` (the answer is), `all`, or those that earned so
            much. The others stay in the run's records.
    """

    policy: str | None = None
    run: str | None = None
    cases: str
    samples: int = Field(default=1, ge=1)
    keep: Literal["right", "all"] | float = "right"


class CurriculumTable(_Table):
    """`[curriculum]`: the cases that GRPO is trained on, and their order.

    Attributes:
        difficulty: `self` (the policy after its cold start) or a policy's spec: its rate of success
            over `samples` episodes of a case orders the cases, easy ones first.
        share: of the cases, chosen so that rare ones stay and redundant ones go.
        skip_flat: groups whose members all earn the same are exchanged for further ones, until a
            step has played `most` times as many as it needs.
    """

    difficulty: str | None = None
    samples: int = Field(default=8, ge=1)
    share: float = Field(default=1.0, gt=0, le=1)
    skip_flat: bool = False
    most: float = Field(default=3.0, ge=1)


class SightTable(_Table):
    """`[sight]`: how often training looks whether the policy still sees, and when it is blind.

    Attributes:
        every: steps between two looks; 0 for none.
        floor: nats by which its answers must change without their images, on average.
        patience: looks in a row that may fall below the floor before the run stops.
    """

    every: int = Field(default=10, ge=0)
    floor: float = Field(default=0.01, ge=0)
    patience: int = Field(default=3, ge=1)


TRAINED = ("triage", "specialist", "attending", "single")
"""Whom the training of a consultation may train: its roles, and a single policy beside them."""


class StageTable(_Table):
    """`[[marl.stages]]`: a stage of the attending's curriculum; see `curriculum`.

    Attributes:
        difficulty: of its cases: easy where all specialists are right, hard where none is.
        share: of the steps; those of all stages add up to 1.
        entropy: weight of the entropy bonus (gamma_s).
    """

    difficulty: Literal["easy", "medium", "hard"]
    share: float = Field(gt=0, le=1)
    entropy: float = Field(default=0.0, ge=0)


class MarlTable(_Table):
    """`[marl]`: how the roles of a `[consultation]` are trained.

    Attributes:
        rounds: the roles learn by turns, each in so many parts of its steps.
        triage_reward: what earns triage its 1 beside 0.5 for form: `specialty`, the case's own; or
            `outcome`, that the consultation which it chose ends with the right answer.
        cases: how many of the training cases the attending's opinions are collected on.
        stages: of the attending's curriculum; none: all difficulties mixed, no entropy bonus.
        rehearse: share of a stage's cases that are of another difficulty.
        single: whether a single policy without colleagues is trained as a baseline.
        grpo: keys of `trl.GRPOConfig` for one role (`triage`, `specialist`, `attending`,
            `single`), over those of `[grpo]`.
    """

    rounds: int = Field(default=1, ge=1)
    triage_reward: Literal["specialty", "outcome"] = "specialty"
    cases: int = Field(default=1000, ge=1)
    stages: tuple[StageTable, ...] = ()
    rehearse: float = Field(default=0.3, ge=0, le=1)
    single: bool = True
    grpo: dict[str, Keys] = {}


class Recipe(_Table):
    """A whole training run."""

    name: str
    seed: int = 0
    model: ModelTable
    cases: CasesTable
    tools: ToolsTable = ToolsTable()
    rubric: RubricTable = RubricTable()
    rollout: RolloutTable = RolloutTable()
    demonstrations: DemonstrationsTable | None = None
    curriculum: CurriculumTable = CurriculumTable()
    sight: SightTable = SightTable()
    judge: JudgeTable = JudgeTable()
    pairs: PairsTable = PairsTable()
    consultation: Keys | None = None
    roles: dict[str, Keys] = {}
    marl: MarlTable = MarlTable()
    sft: Keys = {}
    lora: Keys = {}
    grpo: Keys = {}
    dpo: Keys = {}
    kto: Keys = {}


def load_recipe(name: str, **changes: object) -> tuple[Recipe, str]:
    """A recipe by registered name or path of a TOML file, and its text.

    Args:
        name: `tiny`, or `path/to/recipe.toml`.
        changes: top-level values to set in place of the file's, as `seed=1`.

    Raises:
        UserError: no such recipe, not TOML, an unknown key (the nearest is named), a wrong value.
    """
    path = Path(name) if name.endswith(".toml") else None
    if path is None:
        path = load("recipes", name)
    elif not path.is_file():
        shipped = ", ".join(names("recipes"))
        raise UserError(f"no such recipe: {path}; fix: check the path, or use one of {shipped}")
    assert path is not None
    data, text = read_toml(path)
    data |= {key: value for key, value in changes.items() if value is not None}
    data.setdefault("name", path.stem)
    recipe = parse_recipe(data, str(path))
    tables = {"sft": recipe.sft, "grpo": recipe.grpo, "dpo": recipe.dpo, "kto": recipe.kto}
    for table, keys in tables.items():
        if keys.get("max_steps", -1) > 0 and "num_train_epochs" in keys:
            raise UserError(
                f"{path}: {table}.num_train_epochs does nothing beside max_steps; fix: remove one"
            )
    return recipe, text


def with_defaults(held: Keys) -> Keys:
    """A recipe as a manifest holds it, with the defaults of keys that came later.

    One that can no longer be read is returned as it is.
    """
    try:
        found: Keys = Recipe.model_validate(held).model_dump(mode="json")
    except ValidationError:
        return held
    return found


def parse_recipe(data: Keys, where: str) -> Recipe:
    """Check a recipe's data; errors as in `load_recipe`."""
    _check_parts(data, where)
    refuse_sampling(data.get("rollout"), where)
    recipe = read_table(Recipe, data, where)
    if (recipe.model.build is None) == (recipe.model.path is None):
        raise UserError(f"{where}: [model] needs either build or path; fix: give one of them")
    shown = recipe.demonstrations
    if shown is not None and (shown.policy is None) == (shown.run is None):
        raise UserError(f"{where}: [demonstrations] needs either policy or run; fix: give one")
    for fault in (recipe.judge.fault(recipe.consultation is not None), recipe.pairs.fault()):
        if fault is not None:
            raise UserError(f"{where}: {fault}")
    for role in recipe.marl.grpo:
        if role not in TRAINED:
            raise unknown(f"role in {where}:", f"marl.grpo.{role}", TRAINED)
    shares = sum(stage.share for stage in recipe.marl.stages)
    if recipe.marl.stages and abs(shares - 1) > 1e-6:
        raise UserError(f"{where}: the shares of marl.stages add up to {shares:g}; fix: to 1")
    rubric_of(recipe.rubric)  # a name that is wrong is named now, not when training begins
    _check_keys(recipe, where)
    wholes = {
        "lora": any((recipe.grpo, recipe.marl.grpo, recipe.dpo, recipe.kto)) and not recipe.lora,
        "sft.lora": recipe.demonstrations is not None and "lora" not in recipe.sft,
    }
    check_learning(recipe.model, wholes, where)
    return recipe


def _check_parts(data: Keys, where: str) -> None:
    """Read `[[cases.train]]` before the whole, so that an error is about its key."""
    table = data.get("cases")
    parts = table.get("train") if isinstance(table, dict) else None
    if not isinstance(parts, list):
        return
    if any(not isinstance(part, dict) for part in parts):
        raise UserError(
            f"{where}: cases.train is a list of texts; fix: write one [[cases.train]] for each "
            "source, with its spec and weight"
        )
    found = [read_table(CasesPart, p, where, f"cases.train.{n}") for n, p in enumerate(parts)]
    if not found:
        raise UserError(f"{where}: cases.train names no cases; fix: name some")
    labels = [part.label for part in found]
    for label in labels:
        if labels.count(label) > 1:
            raise UserError(
                f"{where}: two sources of cases.train are called {label!r}; fix: give each a name"
            )


def _check_keys(recipe: Recipe, where: str) -> None:
    """The tables that are passed on hold keys of the libraries' own configuration classes."""
    loras = {"lora": recipe.lora, "sft.lora": recipe.sft.get("lora", {})}
    for name, keys in loras.items():
        if not isinstance(keys, dict):
            raise UserError(f"{where}: {name} is no table; fix: write [{name}] and its keys")
        LORA.check(keys, where, name)
        if keys.get("r", 1) < 1:  # which PEFT sees much later
            raise UserError(f"{where}: {name}.r: {keys['r']}; fix: a rank of 1 or more")
    SFT.check({key: value for key, value in recipe.sft.items() if key != "lora"}, where)
    check_dpo(recipe.dpo, recipe.lora, where)
    KTO.check(recipe.kto, where)
    engine = {"[rollout] policy": recipe.rollout.policy}
    GRPO.check(recipe.grpo, where, beside=engine)
    for role, keys in recipe.marl.grpo.items():
        GRPO.check(keys, where, f"marl.grpo.{role}", beside=engine | recipe.grpo)
