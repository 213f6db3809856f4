"""The command `medgym play`: one episode, turn by turn, on a case or on your own image."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from medgym.cases import Case
from medgym.commands.printing import print_json, safe_line, safe_text
from medgym.commands.shared_options import (
    AllowedHosts,
    AsJson,
    MaxTokens,
    MaxTurns,
    NoTools,
    PolicySpec,
    RubricName,
    Seed,
    Temperature,
    ToolNames,
    ViewSize,
    cases_and_rules,
    refuse_gold_player,
    tool_names,
)
from medgym.consultation.team import Team
from medgym.deadline import DaemonThreads
from medgym.episode import Rules
from medgym.errors import RunError, UserError, closed_output
from medgym.failures import Failure
from medgym.imaging.opened import ImagePlace, OpenedImage, opened_image
from medgym.imaging.study import ImageRef
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling, WrappedPolicy, load_policy
from medgym.rollout import roll_out
from medgym.rollout.request import ready
from medgym.rubric import Rubric
from medgym.storage.plain import plain
from medgym.trajectory import Look, Trajectory
from medgym.uris import file_uri
from medgym.workspace import View


def play(
    policy: PolicySpec,
    cases: Annotated[
        str | None, typer.Argument(metavar="[CASES]", help="The first of these cases, or --case.")
    ] = None,
    case: Annotated[
        str | None, typer.Option("--case", metavar="ID", help="The id of the case.")
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            "--image",
            help="A picture, DICOM or NIfTI file, series, clip or slide of your own; may be "
            "repeated.",
        ),
    ] = None,
    frame: Annotated[
        int | None, typer.Option("--frame", min=0, help="The frame, of a file with several.")
    ] = None,
    plane: Annotated[
        str | None,
        typer.Option("--plane", metavar="NAME", help="The plane, such as axial, of a volume."),
    ] = None,
    index: Annotated[
        int | None, typer.Option("--index", min=0, help="Which image of the plane, from 0.")
    ] = None,
    question: Annotated[
        str | None, typer.Option("--question", help="The question about your own image.")
    ] = None,
    options: Annotated[
        str | None,
        typer.Option("--options", metavar="A,B", help="The question's options, joined by commas."),
    ] = None,
    tools: ToolNames = None,
    no_tools: NoTools = False,
    rubric: RubricName = "outcome",
    max_turns: MaxTurns = 6,
    view_size: ViewSize = None,
    temperature: Temperature = 1.0,
    max_tokens: MaxTokens = 512,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Save all views and an overview of the looks here."
        ),
    ] = None,
    allow_host: AllowedHosts = None,
    as_json: AsJson = False,
) -> None:
    """Play one episode and print it turn by turn.

    Example: medgym play phantom:test --policy scripted:oracle --out played

    Example: medgym play --image retina.jpg --question "Which eye?" --options left,right
    --policy human --out played

    Example: medgym play --image head.nii.gz --plane axial --index 12 --question "What is it?"
    --policy scripted:random --tools slice,zoom
    """
    chosen = tool_names(tools, no_tools)
    place = {"frame": frame, "plane": plane, "index": index}
    own = _own_case(cases, case, image or (), place, question, options)
    found, rules = cases_and_rules(
        [own] if own is not None else str(cases),
        tools=chosen,
        rubric=rubric,
        max_turns=max_turns,
        view_size=view_size,
    )
    if own is not None:  # there is nothing to hold an answer against
        rules = Rules(rules.tools, Rubric("none", ()), rules.max_turns, view_size=rules.view_size)
    played = found[0] if case is None else found.find(case)
    studies = [opened_image(ref) for ref in played.images]
    player = ready(load_policy(policy))
    if own is not None:
        refuse_gold_player(player, policy)
    if policy == "human" and out is None:
        raise UserError("a person needs to see the views; fix: add --out DIR")
    if isinstance(player, Team) and out is not None:
        raise UserError(
            f"each role of {policy} has views of its own; fix: medgym rollout --out RUN, then "
            "medgym view RUN, or omit --out"
        )
    _make_folder(out)
    watched = None if isinstance(player, Team) else Watched(player, out, say=not as_json)
    playing = roll_out(
        played,
        watched or player,
        rules,
        sampling=Sampling(temperature=temperature, max_tokens=max_tokens),
        seed=seed,
        studies=studies,
        threads=DaemonThreads("medgym-tools"),  # an interrupt waits for none of them
        on_messages=watched.show if watched is not None else None,
    )
    try:
        trajectory = asyncio.run(playing)
    except Failure as failure:
        raise RunError(
            f"{policy} could not play {played.id} ({failure}); fix: remove the cause, then play "
            "again"
        ) from failure
    finally:
        player.close()
    if out is not None:
        _draw_overviews(out, played, studies, trajectory, rules)
    if as_json:
        print_json(_record(played, trajectory, watched, gold=own is None))
        return
    if watched is None:
        _say_parts(trajectory)
    print(f"\n{_ending(trajectory)}")
    if own is None:
        reward = f"reward {trajectory.reward:.2f}" if trajectory.reward is not None else "no reward"
        verdict = "right" if trajectory.correct else "wrong"
        print(f"gold: {safe_line(played.answer)}; {verdict}, {reward}")
    if out is not None:
        print(f"views and overviews are in {out}")


class Watched(WrappedPolicy):
    """Plays as another policy does, and shows the conversation as it grows.

    Args:
        policy: who plays. out: where views are saved, None for nowhere. say: print the turns.
    """

    def __init__(self, policy: Policy, out: Path | None, *, say: bool) -> None:
        super().__init__(policy)
        self._out, self._say = out, say
        self.messages: tuple[Message, ...] = ()

    def for_case(self, case: Case) -> "Watched":
        """Watch the player of one case."""
        self.policy = self.policy.for_case(case)
        return self

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """Show what is new, then let the policy reply."""
        self.show(conversation)
        return await self.policy.act(conversation, sampling)

    def show(self, conversation: Sequence[Message]) -> None:
        """Print and save what the conversation has that was not shown yet."""
        for message in conversation[len(self.messages) :]:
            files = []
            for part in message.images:
                if self._out is not None:
                    part.image.save(self._out / f"view-{part.view}.png")
                    files.append(f"  view {part.view} is {self._out / f'view-{part.view}.png'}")
            if self._say:
                _say(f"[{message.role}]", safe_text(message.text), *files)
        self.messages = tuple(conversation)


def _say(*lines: str) -> None:
    """Print within an episode, where an output that is closed must not pass for a failed policy."""
    try:
        print(*lines, sep="\n")
    except BrokenPipeError as error:
        raise closed_output() from error


def _own_case(
    cases: str | None,
    case: str | None,
    images: Sequence[Path],
    place: Mapping[str, Any],
    question: str | None,
    options: str | None,
) -> Case | None:
    """The case made of the user's own images; None where cases are named instead."""
    if not images:
        if cases is None:
            raise UserError("nothing to play; fix: name CASES, or --image FILE with --question")
        for name, given in {**place, "question": question, "options": options}.items():
            if given is not None:
                raise UserError(f"--{name} goes with --image; fix: add --image")
        return None
    if cases is not None or case is not None:
        raise UserError("cases and --image exclude each other; fix: omit one of them")
    if not question:
        raise UserError("--image needs a --question; fix: add --question TEXT")
    offered = tuple(text.strip() for text in options.split(",")) if options is not None else ()
    if options is not None and (len(set(offered)) < max(2, len(offered)) or "" in offered):
        raise UserError(f"--options {options!r} are not two or more; fix: write --options yes,no")
    return Case(
        id=f"own/play/{images[0].name}",
        images=tuple(ImageRef(uri=file_uri(path), **place) for path in images),
        question=question,
        options=offered,
        answer="",
        answer_type="choice" if offered else "open",
        group=images[0].name,
        source="own",
        split="play",
    )


def _make_folder(out: Path | None) -> None:
    if out is None:
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not empty; fix: choose another name or remove it")
    out.mkdir(parents=True, exist_ok=True)


def _draw_overviews(
    out: Path, case: Case, studies: Sequence[OpenedImage], trajectory: Trajectory, rules: Rules
) -> None:
    """Where it looked, and where it should have: `overview-IMAGE.png` of what the episode started
    with, and `overview-IMAGE-PLANE-INDEX.png` of the other images of a study."""
    from medgym.imaging.drawing import GOLD, Mark, marked
    from medgym.metrics.regions import placed, shows

    workspace = rules.begin(case, studies).workspace
    first = len(workspace.views)
    drawn = {(v.image, *v.place.image): v for v in workspace.views[: len(case.images)]}
    starts = set(drawn)
    regions = placed(case)
    places = [(k.image, ImagePlace(k.plane, k.index, k.slab, k.window)) for k in trajectory.looks]
    seen: list[Look | View] = [*drawn.values(), *trajectory.looks]
    for region in regions:
        if region.plane is not None and not any(shows(each, region) for each in seen):
            places.append((region.image, ImagePlace(region.plane, region.middle)))
    for image, place in places:
        if (image, *place.image) not in drawn:
            drawn[image, *place.image] = workspace.overview(image, place, None)
    for where, view in drawn.items():
        gold = [Mark(r.box_px, GOLD) for r in regions if shows(view, r)]
        looks = [
            Mark(look.box_px, label=str(first + number))
            for number, look in enumerate(trajectory.looks)
            if (look.image, look.plane, look.index) == where
        ]
        picture = marked(view.picture, view.box_px, [*gold, *looks], 768)
        named = where[:1] if where in starts else where
        name = "-".join(re.sub(r"\W+", "-", str(part)) for part in named)
        picture.save(out / f"overview-{name}.png")


def _ending(trajectory: Trajectory) -> str:
    if trajectory.answer is None:
        return f"no answer after {trajectory.turns} replies"
    return f"answer: {safe_text(trajectory.answer)}"


def _say_parts(trajectory: Trajectory) -> None:
    """Print what each role of a consultation played, one after the other."""
    for branch, (role, part) in zip(trajectory.branches, trajectory.parts(), strict=True):
        print(f"== {safe_line(role)}, {safe_line(part.policy)}, {branch.seconds:.2f} s")
        for node in part.nodes:
            print(f"[{node.role}]", safe_text(node.text), sep="\n")
        if part.failure is not None:
            print(f"failed: {safe_text(part.failure)}")
        print()


def _parts(trajectory: Trajectory) -> list[dict[str, Any]]:
    return [
        {
            "role": role,
            "policy": part.policy,
            "round": branch.round,
            "seconds": branch.seconds,
            "messages": [
                {"role": n.role, "text": n.text, "views": [use.view for use in n.images]}
                for n in part.nodes
            ],
            "answer": part.answer,
            "reward": part.reward,
            "failure": part.failure,
        }
        for branch, (role, part) in zip(trajectory.branches, trajectory.parts(), strict=True)
    ]


def _record(
    case: Case, trajectory: Trajectory, watched: Watched | None, *, gold: bool
) -> dict[str, Any]:
    first = len(trajectory.branch()[0].images)  # which were there from the start
    record: dict[str, Any] = {
        "case": case.id,
        "policy": trajectory.policy,
        "looks": [
            {"view": first + i, **{name: v for name, v in plain(k).items() if name != "gain"}}
            for i, k in enumerate(trajectory.looks)
        ],
        "answer": trajectory.answer,
    }
    if watched is None:
        record["parts"] = _parts(trajectory)
    else:
        record["messages"] = [
            {"role": m.role, "text": m.text, "views": [part.view for part in m.images]}
            for m in watched.messages
        ]
    if gold:
        record |= {
            "gold": case.answer,
            "correct": trajectory.correct,
            "reward": trajectory.reward,
            "terms": dict(trajectory.terms or {}),
        }
    return record
