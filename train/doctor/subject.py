"""What `medgym doctor` examines: a model as samplers and trainers hold it, and episodes of it.

A model is loaded once, as training loads it. Every case is rolled out twice in the model's tokens,
each time up to the gold answer: once the oracle looks, once the model itself (if it does look). On
some cases the model also continues by itself: from the question, and from where the oracle has
looked. So there are images in the question and in a tool's turn even where the model has learned
neither to call nor to answer.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from medgym.cases import LETTERS, Case, CaseList, open_cases
from medgym.commands.shared_options import cases_and_rules
from medgym.consultation.opinions import advised_case
from medgym.consultation.role import ATTENDING
from medgym.episode import DEFAULT_TOOLS, Rules
from medgym.errors import RunError, UserError
from medgym.failures import Failure
from medgym.local_model import LocalModel, local_model
from medgym.messages import Calls, Message, Reply, parse_action, render_answer
from medgym.metrics.recorded_tokens import RecordedTokens, kinds_of
from medgym.model_options import read_model
from medgym.models import load_model
from medgym.policy import Policy, Sampling, WrappedPolicy, load_policy, read_spec
from medgym.registry import names
from medgym.rollout import roll_out
from medgym.spec import split_adapter
from medgym.storage.layout import ROLE, Place
from medgym.storage.run_folder import RunFolder
from medgym.tool_form import ToolFormName, take_tool_form
from medgym.trajectory import Trajectory

from ..data.preferences.folder import PairFolder
from ..recipe.schema import Recipe, parse_recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

CASES = "phantom:test[:16]"
"""What is asked where the user names no cases."""

DEFAULT_COUNT = 16
"""Cases taken from a run's own test split."""

OWN = 6
"""Cases that the model continues by itself."""

SHORT = Sampling(max_tokens=48)
"""How it does. Log-probabilities are compared at temperature 1, however the run samples."""


@dataclass(frozen=True)
class Shown:
    """One episode of the oracle in the model's tokens.

    Attributes:
        conversation: its messages; None, as the trajectory, where it could not be played.
        failure: why not.
    """

    case: Case
    trajectory: Trajectory | None = None
    conversation: Sequence[Message] | None = None
    failure: str | None = None


def played(episodes: Sequence[Shown]) -> list[tuple[Case, Trajectory]]:
    """Those that could be played."""
    return [(each.case, each.trajectory) for each in episodes if each.trajectory is not None]


def pictures(episodes: Sequence[Shown]) -> Mapping[str, Image.Image]:
    """The images that were shown in them, by content hash."""
    talks = [each.conversation for each in episodes if each.conversation is not None]
    return {p.sha256: p.image for said in talks for message in said for p in message.images}


def played_sizes(episodes: Sequence[Shown]) -> list[tuple[int, int]]:
    """The (width, height) of each image that was shown in them."""
    talks = [each.conversation for each in episodes if each.conversation is not None]
    return [part.size for said in talks for message in said for part in message.images]


class Led(WrappedPolicy):
    """A model that looks as it likes and is then given the gold answer, in its own tokens.

    Its looks are greedy. When it does anything else than call, or the last turn has come, the gold
    answer replaces its reply.
    """

    policy: LocalModel
    kind = "demonstration"
    needs_gold = True

    def __init__(self, model: LocalModel, max_turns: int, answer: str = "") -> None:
        super().__init__(model)
        self._max_turns = max_turns
        self._answer = answer

    def for_case(self, case: Case) -> Policy:
        """The player of one case."""
        gold = case.answer
        if gold in case.options:
            gold = LETTERS[case.options.index(gold)]
        return Led(self.policy, self._max_turns, render_answer(gold))

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The model's next look, else the gold answer."""
        turns = sum(said.role == "assistant" for said in conversation)
        if turns + 1 < self._max_turns:
            reply = await self.policy.act(conversation, replace(SHORT, temperature=0.0))
            if isinstance(parse_action(reply.text), Calls) and not reply.cut:
                return replace(reply, logprobs=None)
        prompt = self.policy.prompt(conversation)
        return Reply(
            text=self._answer,
            prompt_ids=prompt.ids,
            token_ids=self.policy.encode_reply(self._answer),
            image_tokens=prompt.image_tokens,
        )


@dataclass(frozen=True)
class Subject:
    """A model, what it is asked, and the records of its run if it is a run's.

    Attributes:
        model, processor: None where only a run's records are examined.
        cases, rules: what is played.
        run: the run's folder.
        known: cases that the run's records may name.
        tool_form: how it is offered tools and calls them.
        pairs: pairs that it is to learn from.
    """

    model: "PreTrainedModel | None"
    processor: "ProcessorMixin | None"
    cases: Sequence[Case]
    rules: Rules
    run: RunFolder | None = None
    known: tuple[CaseList, ...] = ()
    tool_form: ToolFormName = "text"
    pairs: PairFolder | None = None

    @cached_property
    def policy(self) -> LocalModel:
        """The sampler.

        Raises:
            UserError: the chat template cannot serve.
        """
        return self.in_form(self.tool_form)

    def in_form(self, tool_form: ToolFormName) -> LocalModel:
        """The sampler, with tools and calls in some form.

        Raises:
            UserError: the chat template has no place for that form, or cannot serve at all.
        """
        assert self.model is not None
        assert self.processor is not None
        return local_model(self.model, self.processor, patience=None, tool_form=tool_form)

    @cached_property
    def shown(self) -> tuple[Shown, ...]:
        """The oracle's episodes."""
        return self._show(self.policy.imitating(load_policy("scripted:oracle")))

    @cached_property
    def led(self) -> tuple[Shown, ...]:
        """The model's own looks, each episode ended by the gold answer."""
        return self._show(Led(self.policy, self.rules.max_turns))

    def _show(self, player: Policy) -> tuple[Shown, ...]:
        async def show(case: Case) -> Shown:
            kept: list[Sequence[Message]] = []
            try:
                trajectory = await roll_out(case, player, self.rules, on_messages=kept.append)
            except (Failure, RunError) as error:  # not retried: it is what the doctor looks for
                return Shown(case, failure=str(error))
            return Shown(case, trajectory, kept[0])

        async def all_of_them() -> list[Shown]:
            return await asyncio.gather(*map(show, self.cases))

        return tuple(asyncio.run(all_of_them()))

    @cached_property
    def own(self) -> tuple[RecordedTokens, ...]:
        """What the model itself writes at the beginning, and after the oracle has looked."""
        asked: list[tuple[Case, Sequence[Message]]] = []
        for each in self.shown[:OWN]:
            said = each.conversation or ()
            ends = [place for place, message in enumerate(said) if message.role == "assistant"]
            asked += [(each.case, said[:end]) for end in dict.fromkeys(ends[:1] + ends[-1:])]
        replies = self.sample([said for _, said in asked], SHORT)
        return tuple(
            self._given(case, said, reply)
            for (case, said), reply in zip(asked, replies, strict=True)
        )

    def sample(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        sampler: LocalModel | None = None,
    ) -> list[Reply]:
        """The sampler's replies, sampled together; each has a seed of its own."""
        policy = sampler or self.policy
        turns = [replace(sampling, seed=number) for number in range(len(conversations))]

        async def ask() -> list[Reply]:
            for _ in turns:
                policy.enter()
            try:
                return await asyncio.gather(*map(policy.act, conversations, turns))
            finally:
                for _ in turns:
                    policy.leave()

        return asyncio.run(ask())

    def _given(self, case: Case, said: Sequence[Message], reply: Reply) -> RecordedTokens:
        prompt, written = reply.prompt_ids or (), reply.token_ids or ()
        return RecordedTokens(
            case=case,
            ids=prompt + written,
            places=tuple(range(len(prompt), len(prompt) + len(written))),
            kinds=kinds_of(self.policy.processor.tokenizer, written, reply.text),
            logprobs=reply.logprobs or (),
            images=tuple(part.image for message in said for part in message.images),
        )


def is_engine(named: str) -> bool:
    """Whether a name is the spec of a policy whose model is elsewhere and takes adapters."""
    scheme = named.partition(":")[0]
    if ":" not in named or scheme not in names("policies"):
        return False
    kind = read_spec(named)[0]
    return kind.takes_adapters and not kind.local_model


def subject_of(named: str, cases: str | None) -> Subject:
    """What the command's arguments name.

    Args:
        named: a model's name (see `find_model`), `hf:PATH@ADAPTER`, or a run's folder.
        cases: a case spec; None for the run's own test cases, or phantoms.

    Raises:
        UserError: it names nothing that can be examined.
    """
    scheme, colon, rest = named.partition(":")
    if colon and scheme in names("policies"):
        if scheme != "hf":
            raise UserError(
                f"cannot look into {scheme}: from outside; fix: name the folder of its model"
            )
        named = rest
    elif (Path(named).expanduser() / "manifest.json").is_file():
        return _of_run(RunFolder.open(Path(named).expanduser()), cases)
    is_folder = not colon and Path(named).expanduser().is_dir()
    path, adapter = (named, None) if is_folder else split_adapter(named)
    form: ToolFormName = "text"
    if not is_folder:
        path, form = take_tool_form("hf", path)
    asked, rules = cases_and_rules(cases or CASES, tools=DEFAULT_TOOLS, max_turns=3)
    model, processor, _ = load_model(
        *((path, None) if is_folder else read_model("hf", path, adapter))
    )
    return Subject(model, processor, asked, rules, tool_form=form)


def with_pairs(subject: Subject, folder: Path | None) -> Subject:
    """The subject with pairs that its model is to learn from.

    Raises:
        UserError: the folder holds none, or the subject has no model.
    """
    if folder is None:
        return subject
    pairs = PairFolder.open(folder.expanduser())
    if subject.model is None:
        raise UserError("--pairs needs the model that is to learn; fix: name its folder")
    return replace(subject, pairs=pairs)


def _of_run(run: RunFolder, cases: str | None) -> Subject:
    manifest = run.manifest
    if "recipe" not in manifest:
        return _of_rollout(run, cases)
    recipe = parse_recipe(manifest["recipe"], str(run.path / "recipe.toml"))
    # In a consultation the attending's adapter; another role's is named as `hf:BASE@ADAPTER`.
    role = "dpo" if recipe.dpo and not recipe.grpo else ROLE
    place = Place(run.path, role if recipe.consultation is None else ATTENDING)
    base = place.whole if place.whole.is_dir() else place.cold_start
    if not base.is_dir():
        raise UserError(f"{run.path} holds no model yet; fix: wait for its cold start")
    final = place.final
    adapter = str(final.path) if final is not None and base == place.cold_start else None
    asked, rules = cases_and_rules(
        cases or recipe.cases.test,
        tools=recipe.tools.names,
        max_turns=recipe.rollout.max_turns,
        view_size=recipe.rollout.view_size,
        view_multiple=recipe.rollout.view_multiple,
    )
    chosen: Sequence[Case] = asked if cases else asked[:DEFAULT_COUNT]
    if recipe.consultation is not None:  # the attending, which looks, before it has any opinions
        from ..consultation.training import Training
        from ..data.order import GoldCases
        from ..run.opened import Run

        opened = Run(recipe, run.path)
        played = GoldCases(cases) if cases else opened.test
        rules = Training(opened).rules(ATTENDING, on=played)
        chosen = [advised_case(case, ()) for case in chosen]
    model, processor, _ = load_model(str(base), adapter, recipe.model.options.in_run)
    return Subject(
        model, processor, chosen, rules, run, _known(recipe), tool_form=recipe.tools.form
    )


def _known(recipe: Recipe) -> tuple[CaseList, ...]:
    specs = [*(part.spec for part in recipe.cases.parts), recipe.cases.test]
    if recipe.demonstrations is not None:
        specs.append(recipe.demonstrations.cases)
    return tuple(open_cases(spec) for spec in specs)


def _of_rollout(run: RunFolder, cases: str | None) -> Subject:
    """A run of `medgym rollout`: its records, and its model if that can be looked into."""
    asked = run.asked
    if asked.get("command") != "rollout":
        raise UserError(f"{run.path} is no run of a policy; fix: name a run of train or rollout")
    missing = {"cases", "tools", "max_turns", "view_size", "policy"} - asked.keys()
    if missing:
        raise UserError(
            f"{run.path / 'recipe.toml'} does not say {min(missing)}; fix: restore it from a copy"
        )
    own, rules = cases_and_rules(
        asked["cases"], tools=asked["tools"], max_turns=asked["max_turns"],
        view_size=asked["view_size"], view_multiple=asked.get("view_multiple", 1),
    )  # fmt: skip
    chosen = cases_and_rules(cases, tools=())[0] if cases else own[:DEFAULT_COUNT]
    scheme, _, rest = str(asked["policy"]).partition(":")
    if scheme != "hf":
        return Subject(None, None, chosen, rules, run, (own,))
    rest, form = take_tool_form("hf", rest)
    model, processor, _ = load_model(*read_model("hf", *split_adapter(rest)))
    return Subject(model, processor, chosen, rules, run, (own,), tool_form=form)
