"""The command `medgym play`: one episode, turn by turn, on a case or on your own image."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from medgym.cases import Case, unscored
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
    ViewMultiple,
    ViewSize,
    cases_and_rules,
    refuse_gold_player,
    tool_names,
)
from medgym.consultation.team import Team
from medgym.daemon_threads import DaemonThreads
from medgym.errors import RunError, UserError, closed_output
from medgym.failures import Failure
from medgym.imaging.imaging_study import IMAGE
from medgym.imaging.opened import opened_image
from medgym.imaging.study import ImageRef
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling, WrappedPolicy, load_policy
from medgym.rollout import roll_out
from medgym.rollout.request import ready
from medgym.rubric import Rubric
from medgym.storage.plain import plain
from medgym.trajectory import Look, Trajectory
from medgym.uris import file_uri


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
            help="A picture, a DICOM file or folder, or a NIfTI file of your own; may be repeated.",
        ),
    ] = None,
    frame: Annotated[
        int | None, typer.Option("--frame", min=0, help="The frame, of a file with several.")
    ] = None,
    plane: Annotated[
        str | None, typer.Option("--plane", help="Of a volume: the plane that is shown first.")
    ] = None,
    index: Annotated[
        int | None, typer.Option("--index", min=0, help="Of a volume: the image of that plane.")
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
    view_multiple: ViewMultiple = 1,
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
    """
    chosen = tool_names(tools, no_tools)
    own = _own_case(cases, case, image or (), (frame, plane, index), question, options)
    found, rules = cases_and_rules(
        unscored([own]) if own is not None else str(cases),
        tools=chosen,
        rubric=rubric,
        max_turns=max_turns,
        view_size=view_size,
        view_multiple=view_multiple,
    )
    if own is not None:  # there is nothing to hold an answer against
        rules = replace(rules, rubric=Rubric("none", ()))
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
    aloud = None if isinstance(player, Team) else PlayedAloud(player, out, say=not as_json)
    playing = roll_out(
        played,
        aloud or player,
        rules,
        sampling=Sampling(temperature=temperature, max_tokens=max_tokens),
        seed=seed,
        studies=studies,
        threads=DaemonThreads("medgym-tools"),  # an interrupt waits for none of them
        on_messages=aloud.show if aloud is not None else None,
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
        from medgym.commands.slices import draw_overviews

        draw_overviews(out, played, rules.begin(played, studies).workspace, trajectory.looks)
    if as_json:
        print_json(_record(played, trajectory, aloud, gold=own is None))
        return
    if aloud is None:
        _say_parts(trajectory)
    print(f"\n{_ending(trajectory)}")
    if own is None:
        reward = f"reward {trajectory.reward:.2f}" if trajectory.reward is not None else "no reward"
        verdict = "right" if trajectory.correct else "wrong"
        print(f"gold: {safe_line(played.answer)}; {verdict}, {reward}")
    if out is not None:
        print(f"views and overviews are in {out}")


class PlayedAloud(WrappedPolicy):
    """Plays as another policy does, and shows the conversation as it grows.

    Args:
        policy: who plays. out: where views are saved, None for nowhere. say: print the turns.
    """

    def __init__(self, policy: Policy, out: Path | None, *, say: bool) -> None:
        super().__init__(policy)
        self._out, self._say = out, say
        self.messages: tuple[Message, ...] = ()

    def for_case(self, case: Case) -> "PlayedAloud":
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
    place: tuple[int | None, str | None, int | None],
    question: str | None,
    options: str | None,
) -> Case | None:
    """The case made of the user's own images; None where cases are named instead.

    Args:
        place: the frame, the plane and the index that are shown first.
    """
    if not images:
        if cases is None:
            raise UserError("nothing to play; fix: name CASES, or --image FILE with --question")
        if (question, options, *place) != (None,) * 5:
            raise UserError(
                "--question, --options, --frame, --plane and --index go with --image; fix: add "
                "--image"
            )
        return None
    if cases is not None or case is not None:
        raise UserError("cases and --image exclude each other; fix: omit one of them")
    if not question:
        raise UserError("--image needs a --question; fix: add --question TEXT")
    offered = tuple(text.strip() for text in options.split(",")) if options is not None else ()
    if options is not None and (len(set(offered)) < max(2, len(offered)) or "" in offered):
        raise UserError(f"--options {options!r} are not two or more; fix: write --options yes,no")
    frame, plane, index = place
    if frame is not None and (plane is not None or index is not None):
        raise UserError("--frame excludes --plane and --index; fix: omit one of them")
    refs = (ImageRef(uri=file_uri(path), frame=frame, plane=plane, index=index) for path in images)
    return Case(
        id=f"own/play/{images[0].name}",
        images=tuple(refs),
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


def _place(look: Look) -> dict[str, Any]:
    """What a look shows of an image of many: its plane and index, its slab and its window."""
    image = {} if look.plane == IMAGE else {"plane": look.plane, "index": look.index}
    shown = {"slab": look.slab, "window": look.window}
    return image | {name: plain(value) for name, value in shown.items() if value is not None}


def _record(
    case: Case, trajectory: Trajectory, aloud: PlayedAloud | None, *, gold: bool
) -> dict[str, Any]:
    first = len(trajectory.branch()[0].images)  # which were there from the start
    record: dict[str, Any] = {
        "case": case.id,
        "policy": trajectory.policy,
        "looks": [
            {"view": first + i, "tool": k.tool, "image": k.image, "box_px": list(k.box_px)}
            | _place(k)
            for i, k in enumerate(trajectory.looks)
        ],
        "answer": trajectory.answer,
    }
    if aloud is None:
        record["parts"] = _parts(trajectory)
    else:
        record["messages"] = [
            {"role": m.role, "text": m.text, "views": [part.view for part in m.images]}
            for m in aloud.messages
        ]
    if gold:
        record |= {
            "gold": case.answer,
            "correct": trajectory.correct,
            "reward": trajectory.reward,
            "terms": dict(trajectory.terms or {}),
        }
    return record
