"""The checks of `medgym doctor` on an engine, whose model is in another process or on a server.

What shows from outside is examined: whether replies can train, whether episodes keep their images
and tokens, and whether replies depend on images. With the folder of the engine's model, its
log-probabilities are held against that model here, as training would hold them.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import cycle

from PIL import Image

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import RunError, UserError
from medgym.failures import Failure, reason_of
from medgym.local_model import LocalModel, load_local_model
from medgym.messages import ImagePart, Message, Reply
from medgym.metrics.recorded_tokens import hold_images
from medgym.metrics.sight import GREY, STILL, agreement
from medgym.model_options import read_model
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout import roll_out
from medgym.spec import split_adapter
from medgym.trajectory import Trajectory, validate

from .checks import Check, Figure
from .sight import LOST, agrees

SHORT = Sampling(max_tokens=48)
GREEDY = Sampling(temperature=0.0, max_tokens=24)


@dataclass(frozen=True)
class Engine:
    """An engine, what it is asked, and its model in this process where that is given."""

    policy: Policy
    cases: Sequence[Case]
    rules: Rules
    local: LocalModel | None = None

    @cached_property
    def episodes(self) -> tuple[list[tuple[Case, Trajectory]], Mapping[str, Image.Image], str]:
        """What it played, the images that were shown, and the first failure, if any."""
        pictures: dict[str, Image.Image] = {}

        def keep(messages: Sequence[Message]) -> None:
            pictures.update((p.sha256, p.image) for said in messages for p in said.images)

        async def play(case: Case, seed: int) -> Trajectory | str:
            try:
                return await roll_out(
                    case, self.policy, self.rules, sampling=SHORT, seed=seed, on_messages=keep
                )
            except (Failure, RunError) as error:
                return str(error)

        async def all_of_them() -> list[Trajectory | str]:
            return await asyncio.gather(*(play(c, n) for n, c in enumerate(self.cases)))

        found = list(zip(self.cases, asyncio.run(all_of_them()), strict=True))
        failed = next((said for _, said in found if isinstance(said, str)), "")
        played = [(case, one) for case, one in found if isinstance(one, Trajectory)]
        return played, pictures, failed


def examine_engine(engine: Engine) -> list[Check]:
    """Every check that can be made of an engine, in order."""
    wanted: dict[str, Callable[[Engine], Check]] = {
        "replies": replies,
        "images": images,
        "agreement": compared,
        "sight": depends,
    }
    found = []
    for name, check in wanted.items():
        try:
            found.append(check(engine))
        except (UserError, RunError) as error:
            said, _, fix = str(error).partition("; fix: ")
            found.append(Check(name, "fail", {"error": said}, fix))
        except Exception as error:
            found.append(Check(name, "fail", {"error": reason_of(error)}, "see what raises it"))
    return found


def replies(engine: Engine) -> Check:
    """Whether its replies carry exact tokens with log-probabilities."""
    try:
        engine.policy.require_training()
    except UserError as error:
        said, _, fix = str(error).partition("; fix: ")
        return Check("replies", "warn", {"trains": "no", "why": said}, fix)
    return Check("replies", "pass", {"trains": "yes", "version": engine.policy.version or "base"})


def images(engine: Engine) -> Check:
    """Whether its episodes keep the invariants and every image."""
    played, _, failed = engine.episodes
    figure: dict[str, float | int | str] = {"played": len(played), "of": len(engine.cases)}
    if failed:
        return Check("images", "fail", figure | {"error": failed}, "see the error")
    for _, trajectory in played:
        validate(trajectory)
    hold_images(played)
    nodes = [node for _, trajectory in played for node in trajectory.nodes]
    figure |= {
        "made": sum(len(case.images) + len(t.looks) for case, t in played),
        "shown": sum(len(node.images) for node in nodes),
        "placeholders": sum(use.tokens for node in nodes for use in node.images),
        "drifts": engine.policy.drifts or 0,
    }
    others = {t.version for _, t in played} - {engine.policy.version}
    if others:
        return Check("images", "fail", figure | {"version": min(others)}, LOST)
    return Check("images", "pass", figure)


def compared(engine: Engine) -> Check:
    """Its log-probabilities against those of its model in this process."""
    played, pictures, _ = engine.episodes
    if engine.local is None:
        fix = "name the folder of its model by --model, to compare log-probabilities"
        return Check("agreement", "warn", {"compared": 0}, fix)
    return agrees(agreement(engine.local, played, pictures))


def depends(engine: Engine) -> Check:
    """Whether its greedy replies change with the images.

    An engine computes in batches, whose rounding changes by itself; so the question is asked twice,
    and what differs then is noise.
    """
    asked = [engine.rules.begin(case).messages for case in engine.cases]
    shown = [[part.image for said in talk for part in said.images] for talk in asked]
    others = [*shown[1:], *shown[:1]]
    own = _replies(engine.policy, asked)
    noise = max(map(_apart, own, _replies(engine.policy, asked)))
    grey = [_with(talk, [_GREY]) for talk in asked]
    strange = [_with(talk, pictures) for talk, pictures in zip(asked, others, strict=True)]
    changes = [
        max(pair)
        for pair in zip(
            map(_apart, own, _replies(engine.policy, grey)),
            map(_apart, own, _replies(engine.policy, strange)),
            strict=True,
        )
    ]
    beyond = sum(change > max(noise, STILL) for change in changes)
    figure: Figure = {
        "changed": beyond, "of": len(changes), "largest": max(changes), "noise": noise,
    }  # fmt: skip
    if beyond:
        return Check("sight", "pass", figure)
    if noise > STILL:
        return Check("sight", "warn", figure, "its replies change by themselves: give more --cases")
    fix = (
        "the engine is blind: its replies do not depend on the images; see that it is sent them "
        "and that its model reads them"
    )
    return Check("sight", "fail", figure, fix)


def _replies(policy: Policy, asked: Sequence[Sequence[Message]]) -> list[Reply]:
    async def ask() -> list[Reply]:
        return await asyncio.gather(*(policy.act(talk, GREEDY) for talk in asked))

    return asyncio.run(ask())


def _apart(one: Reply, other: Reply) -> float:
    """Nats by which two replies differ at most; a whole one where their words do."""
    if (one.token_ids or one.text) != (other.token_ids or other.text):
        return 1.0
    pairs = zip(one.logprobs or (), other.logprobs or (), strict=True)
    return max((abs(a - b) for a, b in pairs), default=0.0)


_GREY = Image.new("RGB", (8, 8), GREY)


def _with(talk: Sequence[Message], pictures: Sequence[Image.Image]) -> list[Message]:
    """The conversation with other images, at the sizes of its own."""
    rest = cycle(pictures)
    return [
        replace(
            said,
            content=tuple(
                ImagePart(part.view, next(rest).convert("RGB").resize(part.size))
                if isinstance(part, ImagePart)
                else part
                for part in said.content
            ),
        )
        for said in talk
    ]


def engine_of(named: str, cases: Sequence[Case], rules: Rules, model: str | None) -> Engine:
    """The engine that a spec names, ready to play.

    Args:
        model: the folder of its model, `PATH?options@ADAPTER` at most; None to compare nothing.

    Raises:
        UserError: it is not there, or its model is not.
    """
    local = None if model is None else load_local_model(*read_model("hf", *split_adapter(model)))
    policy = load_policy(named)
    try:
        asyncio.run(policy.check())
    except BaseException:
        policy.close()
        raise
    return Engine(policy, cases, rules, local)
