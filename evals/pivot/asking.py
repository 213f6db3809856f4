"""A policy is asked for one reply at each pivot. No episode is played on.

The beginning of the episode is replayed, and must be what was stored, by its text and by the hash
of every image. The reply is the last of the episode. Its calls are read and checked as ever, but no
tool runs: a call that names a view and a box, or an image of its study, is taken as a look there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from medgym.cases import Case
from medgym.consultation.team import Team
from medgym.contracts import checked_reply
from medgym.episode import Episode, Rules, ToolOutcome
from medgym.errors import UserError
from medgym.imaging.opened import OpenedImage
from medgym.imaging.study import Study
from medgym.messages import Final, Malformed, Message, Reply, ToolCall
from medgym.policy import Policy, Sampling, WrappedPolicy
from medgym.rollout.backend import Backend
from medgym.rollout.collection import play
from medgym.rollout.local import LocalBackend
from medgym.rollout.record import faults_of
from medgym.rollout.sync import drive_each
from medgym.rubric import Rubric, Term
from medgym.storage.run_folder import RunFolder
from medgym.tool import Tool, ToolArgs, ToolResult
from medgym.trajectory import Trajectory
from medgym.workspace import View, Workspace

from .places import Pivot

READ, CALLS, ANSWERED, ACCEPTED, FAULTS = "read", "calls", "answered", "accepted", "faults"
"""What a trajectory of a pivot says of the reply, as terms."""


def ask(
    pivots: Sequence[Pivot],
    policy: Policy,
    rules: Rules,
    *,
    sampling: Sampling,
    seed: int = 0,
    concurrency: int = 64,
    backend: str = "local",
    workers: int = 2,
    ray_address: str | None = None,
    out: RunFolder | None = None,
) -> Iterator[Trajectory]:
    """Ask for one reply at each pivot; those that the folder holds already are not asked again.

    Args:
        policy: who is asked. rules: those by which the episodes were played.
        backend, workers, ray_address: as of `medgym.collect`.
        out: where the episodes up to the reply are stored, under the id of `Pivot.asked`.

    Raises:
        UserError: an episode cannot be replayed.
    """
    cases = [pivot.asked for pivot in pivots]
    places = {
        case.id: _Place(pivot.case.id, pivot.turn - 1, len(pivot.tools))
        for case, pivot in zip(cases, pivots, strict=True)
    }
    resumes = {case.id: pivot.resume for case, pivot in zip(cases, pivots, strict=True)}
    kept = {each.name: getattr(rules, each.name) for each in fields(Rules)}
    asking = PivotRules(**(kept | {"rubric": _RUBRIC}), places=places)
    asked = InWords(policy)

    def make() -> Backend:
        common: dict[str, Any] = {
            "sampling": sampling,
            "seed": seed,
            "concurrency": concurrency,
            "stored": out.images.has if out is not None else None,
        }
        if backend == "local":
            return LocalBackend(asked, asking, **common)
        from medgym.rollout.ray.backend import RayBackend

        return RayBackend(asked, asking, workers=workers, address=ray_address, **common)

    return drive_each(
        play(
            cases, make, policy=policy.spec, group_size=1, resumes=resumes, seed=seed,
            concurrency=concurrency, out=out,
        )
    )  # fmt: skip


def refuse_roles(policy: Policy) -> None:
    """`UserError` for a consultation, whose roles read different conversations."""
    if isinstance(policy, Team):
        raise UserError(
            "the roles of a consultation read different conversations; fix: ask a policy of one "
            "role"
        )


class InWords(WrappedPolicy):
    """The same policy, of whose replies only the text is kept.

    What it is asked to continue are the words of another policy, which may have other tokens.
    """

    kind = "text"
    vision_token_ids = ()

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The next reply, without its tokens."""
        reply = checked_reply(await self.policy.act(conversation, sampling))
        return replace(reply, prompt_ids=None, token_ids=None, logprobs=None, image_tokens=())


@dataclass(frozen=True)
class _Place:
    """Where an episode is asked: its own case, how many replies are replayed, and how many calls of
    the reply count."""

    case_id: str
    kept: int
    calls: int


@dataclass(frozen=True)
class PivotRules(Rules):
    """Rules whose episodes end with the first reply that is not replayed."""

    places: Mapping[str, _Place] = field(default_factory=dict)

    def begin(self, case: Case, studies: Sequence[Study | OpenedImage] | None = None) -> Episode:
        """A new episode up to one reply; `case` is that of a pivot."""
        place = self.places[case.id]
        return _Asked(case.model_copy(update={"id": place.case_id}), self, place, studies)


class _Asked(Episode):
    """An episode that ends with the first reply that is not replayed."""

    def __init__(
        self,
        case: Case,
        rules: PivotRules,
        place: _Place,
        studies: Sequence[Study | OpenedImage] | None,
    ) -> None:
        super().__init__(case, rules, studies)
        self._place = place
        self._read = 0

    @property
    def _replays(self) -> bool:
        return len(self.turns) < self._place.kept

    def step(self, reply: Reply | str) -> Message | None:
        """Play one reply; the one that is asked for is the last."""
        replays = self._replays
        said = super().step(reply)
        if replays:
            return said
        if said is not None:  # nobody reads it
            self.messages.pop()
        if not self.done:
            self.truncate()
        return None

    def _call(self, call: ToolCall) -> ToolOutcome:
        if not self._replays:
            self._read += 1
            if self._read > self._place.calls:  # more calls than were made here do not help
                return ToolOutcome(call, "")
        return super()._call(call)

    def _use(self, tool: Tool, args: ToolArgs, workspace: Workspace) -> ToolResult:
        if self._replays:
            return super()._use(tool, args, workspace)
        view = aimed(tool.name, args, workspace)
        return ToolResult(views=() if view is None else (view,))


def aimed(tool: str, args: ToolArgs, workspace: Workspace) -> View | None:
    """Where a call looks, by its arguments alone: `view` with `box`, or with `plane` and `index` or
    `mm`, or only `view`; None for a call that names no view.

    Raises:
        ToolError: there is no such view or image, or the box does not lie in it.
    """
    number: object = getattr(args, "view", None)
    if not isinstance(number, int):
        return None
    seen = workspace.view(number)
    box: Any = getattr(args, "box", None)
    if box is not None:
        box_px = workspace.box_px(number, box)
        return workspace.look(seen.image, box_px, enlarge=True, made_by=tool, **vars(seen.place))
    plane = getattr(args, "plane", None) or seen.plane
    index: int | None = getattr(args, "index", None)
    mm: float | None = getattr(args, "mm", None)
    if index is None and mm is not None:
        index = workspace.images[seen.image].index_at(plane, mm)
    if index is None:
        return workspace.again(seen, seen.place, tool)
    place = workspace.place(seen.image, plane, index, None, seen.window)
    return workspace.overview(seen.image, place, tool)


def _read(case: Case, episode: Episode) -> float:
    return float(not isinstance(episode.turns[-1].action, Malformed))


def _calls(case: Case, episode: Episode) -> float:
    return float(len(episode.turns[-1].outcomes))


def _answered(case: Case, episode: Episode) -> float:
    return float(isinstance(episode.turns[-1].action, Final))


def _accepted(case: Case, episode: Episode) -> float:
    outcomes = episode.turns[-1].outcomes
    return float(bool(outcomes) and not any(each.failed for each in outcomes))


def _faults(case: Case, episode: Episode) -> float:
    return float(len(faults_of(episode.turns[-1])))


_RUBRIC = Rubric.of(
    "pivot", Term(READ, 0.0, _read), Term(CALLS, 0.0, _calls), Term(ANSWERED, 0.0, _answered),
    Term(ACCEPTED, 0.0, _accepted), Term(FAULTS, 0.0, _faults),
)  # fmt: skip
