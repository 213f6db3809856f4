"""What `medgym doctor` examines: a model as samplers and trainers hold it, and episodes of it.

A model is loaded once, as training loads it. Every case is told twice in the model's tokens, each
time up to the gold answer: once the oracle looks, once the model itself does (if it does). Of some
cases the model goes on by itself: from the question, and from where the oracle has looked. So there
are images in the question and in a tool's turn even where it has learned neither to call nor to
answer.
"""

import asyncio
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from medgym.cases import LETTERS, Case, CaseList, open_cases
from medgym.commands.shared_options import cases_and_rules
from medgym.consultation.opinions import ATTENDING, advised_case
from medgym.episode import DEFAULT_TOOLS, Rules
from medgym.errors import RunError, UserError
from medgym.failures import Failure, reason_of
from medgym.local_model import local_model
from medgym.messages import Calls, Message, Reply, parse_action, render_answer
from medgym.policy import Policy, Sampling, load_policy, split_adapter
from medgym.registry import names
from medgym.rollout import roll_out
from medgym.storage.adapters import check_fit
from medgym.storage.layout import ROLE, Place
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Trajectory

from ..forcing import Given, kinds_of
from ..models.checkpoint import load_model
from ..recipe.schema import Recipe, parse_recipe

CASES = "phantom:test[:16]"
"""What is asked where the user names no cases."""

DEFAULT_COUNT = 16
"""Cases taken from a run's own test split."""

OWN = 6
"""Cases of which the model plays on by itself."""

SHORT = Sampling(max_tokens=48)
"""How it does; whatever else the run samples by, log-probabilities are held at temperature 1."""


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


class Led(Policy):
    """A model that looks as it likes and is then given the gold answer, in its own tokens.

    Its looks are greedy. As soon as it does anything else than call, or the last turn has come, the
    gold answer stands in place of what it wrote.
    """

    kind = "demonstration"
    needs_gold = True

    def __init__(self, model: Any, max_turns: int, answer: str = "") -> None:
        self._model = model
        self._max_turns = max_turns
        self._answer = answer
        self.vision_token_ids = model.vision_token_ids

    def for_case(self, case: Case) -> Policy:
        """The player of one case."""
        gold = case.answer
        if gold in case.options:
            gold = LETTERS[case.options.index(gold)]
        return Led(self._model, self._max_turns, render_answer(gold))

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The model's next look, else the gold answer."""
        turns = sum(said.role == "assistant" for said in conversation)
        if turns + 1 < self._max_turns:
            reply: Reply = await self._model.act(conversation, replace(SHORT, temperature=0.0))
            if isinstance(parse_action(reply.text), Calls) and not reply.cut:
                return replace(reply, logprobs=None)
        prompt = self._model.renderer.prompt(conversation)
        return Reply(
            text=self._answer,
            prompt_ids=prompt.ids,
            token_ids=self._model.renderer.encode_reply(self._answer),
            image_tokens=prompt.image_tokens,
        )

    def enter(self) -> None:
        """An episode begins."""
        self._model.enter()

    def leave(self) -> None:
        """An episode is over."""
        self._model.leave()


@dataclass(frozen=True)
class Subject:
    """A model, what it is asked, and the records of its run if it is a run's.

    Attributes:
        model, processor: None, and nothing is played, where a run's records are all there is.
        cases, rules: what is played.
        run: the run's folder.
        known: cases that the run's records may name.
    """

    model: Any
    processor: Any
    cases: Sequence[Case]
    rules: Rules
    run: RunFolder | None = None
    known: tuple[CaseList, ...] = ()

    @cached_property
    def policy(self) -> Any:
        """The sampler.

        Raises:
            UserError: the chat template cannot serve.
        """
        return local_model(self.model, self.processor, patience=None)

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
            except (Failure, RunError) as error:  # not tried again: the doctor wants to see it
                return Shown(case, failure=str(error))
            return Shown(case, trajectory, kept[0])

        async def all_of_them() -> list[Shown]:
            return await asyncio.gather(*map(show, self.cases))

        return tuple(asyncio.run(all_of_them()))

    @cached_property
    def own(self) -> tuple[Given, ...]:
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

    def sample(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Reply]:
        """The sampler's replies, drawn together; each has a seed of its own."""
        policy: Policy = self.policy
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

    def _given(self, case: Case, said: Sequence[Message], reply: Reply) -> Given:
        prompt, written = reply.prompt_ids or (), reply.token_ids or ()
        return Given(
            case=case,
            ids=prompt + written,
            places=tuple(range(len(prompt), len(prompt) + len(written))),
            kinds=kinds_of(self.processor.tokenizer, written),
            logprobs=reply.logprobs or (),
            images=tuple(part.image for message in said for part in message.images),
            placeholder=self.policy.vision_token_ids[0],
        )


def subject_of(named: str, cases: str | None) -> Subject:
    """What the command's arguments name.

    Args:
        named: a model's folder or hub name, `hf:PATH@ADAPTER`, or a run's folder.
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
    path, adapter = split_adapter(named)
    asked, rules = cases_and_rules(cases or CASES, tools=DEFAULT_TOOLS, max_turns=3)
    return Subject(*_loaded(path, adapter), asked, rules)


def _of_run(run: RunFolder, cases: str | None) -> Subject:
    manifest = run.manifest
    if "recipe" not in manifest:
        return _of_rollout(run, cases)
    recipe = parse_recipe(manifest["recipe"], str(run.path / "recipe.toml"))
    # In a consultation the attending's adapter; another role's is named as `hf:BASE@ADAPTER`.
    place = Place(run.path, ROLE if recipe.consultation is None else ATTENDING)
    base = place.whole if place.whole.is_dir() else place.cold_start
    if not base.is_dir():
        raise UserError(f"{run.path} holds no model yet; fix: wait for its cold start")
    newest = place.newest
    adapter = str(newest.path) if newest is not None and base == place.cold_start else None
    asked, rules = cases_and_rules(
        cases or recipe.cases.test,
        tools=recipe.tools.names,
        max_turns=recipe.rollout.max_turns,
        view_size=recipe.rollout.view_size,
    )
    chosen: Sequence[Case] = asked if cases else asked[:DEFAULT_COUNT]
    if recipe.consultation is not None:  # the attending, who looks, before it has heard anybody
        from ..consultation.training import Training

        rules = Training(recipe, run.path).rules(ATTENDING)
        chosen = [advised_case(case, ()) for case in chosen]
    return Subject(*_loaded(str(base), adapter), chosen, rules, run, _known(recipe))


def _known(recipe: Recipe) -> tuple[CaseList, ...]:
    specs = [recipe.cases.train, recipe.cases.test]
    if recipe.demonstrations is not None:
        specs.append(recipe.demonstrations.cases)
    return tuple(open_cases(spec) for spec in specs)


def _of_rollout(run: RunFolder, cases: str | None) -> Subject:
    """A run of `medgym rollout`: its records, and its model if that can be looked into."""
    asked = tomllib.loads(run.recipe)
    if asked.get("command") != "rollout":
        raise UserError(f"{run.path} is no run of a policy; fix: name a run of train or rollout")
    own, rules = cases_and_rules(
        asked["cases"], tools=asked["tools"], max_turns=asked["max_turns"],
        view_size=asked["view_size"],
    )  # fmt: skip
    chosen = cases_and_rules(cases, tools=())[0] if cases else own[:DEFAULT_COUNT]
    scheme, _, rest = str(asked["policy"]).partition(":")
    model, processor = _loaded(*split_adapter(rest)) if scheme == "hf" else (None, None)
    return Subject(model, processor, chosen, rules, run, (own,))


def _loaded(path: str, adapter: str | None) -> tuple[Any, Any]:
    folder = Path(path).expanduser()
    if (path.startswith((".", "/", "~")) or path.count("/") > 1) and not folder.is_dir():
        raise UserError(f"no such model folder: {path}; fix: check the path")
    try:
        model, processor = load_model(folder if folder.is_dir() else path)
        if adapter is not None:
            from peft import PeftModel

            if folder.is_dir():
                check_fit(Path(adapter).expanduser(), folder)
            model = PeftModel.from_pretrained(model, str(Path(adapter).expanduser()))
    except (UserError, RunError):
        raise
    except Exception as error:  # damaged weights, unknown classes, ...
        raise UserError(
            f"cannot load {path} ({reason_of(error)[:120]}); fix: name a folder or a hub model "
            "with weights and a processor"
        ) from error
    return model.eval(), processor
