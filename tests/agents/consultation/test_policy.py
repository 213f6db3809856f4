"""Consultations with scripted roles: the flow, what goes wrong in it, and what is recorded."""

import asyncio
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from medgym.agents.consultation.policy import Consultation, _Consulting
from medgym.agents.consultation.side_by_side import side_by_side
from medgym.cases import open_cases
from medgym.cli import main
from medgym.consultation.flow import RolePart
from medgym.consultation.opinions import read_opinions
from medgym.consultation.recipe import recipe_of
from medgym.consultation.role import Role
from medgym.consultation.role_policies import RolePolicies
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.failures import Failure
from medgym.judge import load_judge
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout import collect
from medgym.storage.adapters import CONFIG, WEIGHTS
from medgym.storage.run_folder import RunFolder, content
from medgym.tool import load_tools
from medgym.trajectory import Trajectory, validate

CASES = open_cases("phantom,look=radiograph+fundus+histology,question=diagnosis:test[:30]")
ZOOM = Rules(tools=load_tools(["zoom"]), view_size=64)
THREE = ["radiologist", "ophthalmologist", "pathologist"]
DOCTOR = "scripted:specialist,specialty={specialty},accuracy=0.7,alike=0.25"


def team(
    triage: str = "scripted:oracle",
    attending: str = "scripted:oracle",
    specialist: str = DOCTOR,
    policies: RolePolicies | None = None,
    fixed: bool = False,
    **table: Any,
) -> Consultation:
    tables: dict[str, Any] = {
        "triage": {"policy": triage},
        "specialist": {"policy": specialist},
        "attending": {"policy": attending},
    }
    table = {"specialties": THREE, "triage": not fixed, **table}
    data = {"consultation": table, "roles": tables}
    made = Consultation(recipe_of(data, "test"), policies)
    made.load()
    return made


def play(policy: Policy, cases: Any = CASES, **options: Any) -> list[Trajectory]:
    return list(collect(cases, policy, ZOOM, ordered=True, **options))


class Says(Policy):
    """Writes what a function makes of the conversation."""

    def __init__(self, write: Any) -> None:
        self._write = write
        self.spec = "says"

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        return Reply(self._write(conversation))


def saying(**texts: Any) -> RolePolicies:
    policies = RolePolicies()
    for name, write in texts.items():
        player = Says(write if callable(write) else lambda _, text=write: text)
        policies.add(f"hf:{name}", player)
    return policies


def test_triage_then_the_chosen_specialists_then_the_attending() -> None:
    for case, played in zip(CASES, play(team()), strict=True):
        validate(played)
        roles = [branch.role for branch in played.branches]
        assert roles == ["triage", *[f"specialist:{case.specialty}"] * 3, "attending"]
        parts = dict(played.parts())
        assert parts["triage"].reward == pytest.approx(1.5)
        assert played.reward == parts["attending"].reward == pytest.approx(1.1)
        assert played.correct
        assert played.answer == parts["attending"].answer
        opinions = read_opinions(parts["attending"].nodes[0].text)
        said = [part.answer for role, part in played.parts() if role.startswith("specialist")]
        letters = ["ABCDEFGH"[case.options.index(answer)] for _, answer in opinions]
        assert sorted(letters) == sorted(filter(None, said))
        assert "attending physician" in parts["attending"].nodes[0].text
        assert (
            f"You are the {case.specialty} whom"
            in parts[f"specialist:{case.specialty}"].nodes[0].text
        )
        assert "Tools" not in parts["triage"].nodes[0].text


def test_each_part_scores_by_its_own_rubric() -> None:
    played = play(team(triage="scripted:prior"))
    right = [dict(t.parts())["triage"] for t in played]
    assert {t.reward for t in right} == {0.5, 1.5}
    assert all(set(t.terms or ()) == {"accuracy", "format"} for t in right)
    for case, trajectory in zip(CASES, played, strict=True):
        own = any(b.role == f"specialist:{case.specialty}" for b in trajectory.branches)
        assert own == (dict(trajectory.parts())["triage"].reward == 1.5)


def test_the_same_seed_consults_alike_and_another_one_differs(tmp_path: Path) -> None:
    digest = [content(play(team(attending="scripted:vote"), seed=seed)) for seed in (0, 0, 1)]
    assert digest[0] == digest[1] != digest[2]
    folder = RunFolder.create(tmp_path / "run", {"command": "test"})
    stored = list(collect(CASES, team(attending="scripted:vote"), ZOOM, out=folder))
    assert content(stored) == content(folder.trajectories) == digest[0]


def test_opinions_come_in_shuffled_order() -> None:
    first = Counter()
    for trajectory in play(team(opinions=1, fixed=True, attending="scripted:vote")):
        text = dict(trajectory.parts())["attending"].nodes[0].text
        first[read_opinions(text)[0][0]] += 1
    assert set(first) == set(THREE)


def test_the_fixed_flow_asks_every_specialty() -> None:
    for trajectory in play(team(opinions=1, fixed=True), CASES[:5]):
        roles = [branch.role for branch in trajectory.branches]
        assert roles == [*(f"specialist:{s}" for s in THREE), "attending"]


def test_a_triage_that_names_nobody_leaves_the_attending_alone() -> None:
    policies = saying(lost="<answer>dentist</answer>")
    for trajectory in play(team(triage="hf:lost", policies=policies), CASES[:6]):
        parts = dict(trajectory.parts())
        assert set(parts) == {"triage", "attending"}
        assert parts["triage"].reward == 0.0
        assert "Opinions: none" in parts["attending"].nodes[0].text
        assert trajectory.correct


@pytest.mark.parametrize(
    "text", ["", "I think", "<answer>all of them</answer>", "<answer></answer>"]
)
def test_a_specialist_who_says_nothing_readable_is_shown_so_and_not_rewarded(text: str) -> None:
    trajectory = play(team(specialist="hf:mute", policies=saying(mute=text)), CASES[:1])[0]
    validate(trajectory)
    parts = [p for role, p in trajectory.parts() if role.startswith("specialist")]
    assert len(parts) == 3
    assert all(not p.correct and p.terms is not None and p.terms["answer"] == 0 for p in parts)
    assert dict(trajectory.parts())["attending"].nodes[0].text.count(": no answer") == 3
    assert trajectory.correct


def test_a_specialist_whose_machinery_fails_is_left_out_and_the_record_says_why() -> None:
    def broken(_: Sequence[Message]) -> str:
        raise Failure("policy", "the endpoint is down", final=True)

    trajectory = play(team(specialist="hf:down", policies=saying(down=broken)), CASES[:1])[0]
    validate(trajectory)
    lost = [b for b in trajectory.branches if b.role.startswith("specialist")]
    assert [b.leaf for b in lost] == [-1, -1, -1]
    assert all("endpoint is down" in (b.record.failure or "") for b in lost)
    assert all(b.record.reward is None for b in lost)
    assert trajectory.correct
    assert trajectory.failure is None


def test_an_attending_whose_machinery_fails_fails_the_consultation() -> None:
    def broken(_: Sequence[Message]) -> str:
        raise Failure("policy", "the endpoint is down", final=True)

    trajectory = play(team(attending="hf:down", policies=saying(down=broken)), CASES[:1])[0]
    assert trajectory.failure is not None
    assert trajectory.reward is None


def test_the_attending_may_refer_up_to_a_budget() -> None:
    calls = [
        '{"name": "refer", "arguments": {"specialty": "pathologist"}}',
        '{"name": "refer", "arguments": {"specialty": "dentist"}}',
        '{"name": "refer", "arguments": {"specialty": "radiologist"}}',
        '{"name": "refer", "arguments": {"specialty": "radiologist"}}',
    ]

    def write(conversation: Sequence[Message]) -> str:
        made = sum(message.role == "assistant" for message in conversation)
        return f"<tool_call>{calls[made]}</tool_call>" if made < 4 else "<answer>A</answer>"

    policy = team(
        attending="hf:boss", policies=saying(boss=write), opinions=1, flow="dynamic", referrals=2
    )
    for trajectory in play(policy, concurrency=30):
        validate(trajectory)
        rounds = [(b.role, b.round) for b in trajectory.branches if b.role.startswith("spec")]
        assert rounds[1:] == [("specialist:pathologist", 1), ("specialist:radiologist", 2)]
        text = " ".join(node.text for node in dict(trajectory.parts())["attending"].nodes)
        assert "refer: specialty: Input should be 'radiologist'" in text
        assert "no referrals left" in text
        assert "opinion on the case. At most 2 times." in text
        assert '"enum": ["radiologist", "ophthalmologist", "pathologist"]' in text
    policy.close()


def test_reasons_are_shown_unless_the_recipe_leaves_them_out() -> None:
    policies = saying(wise="<think>It is\nround.</think><answer>A</answer>")
    for shown in (True, False):
        made = team(specialist="hf:wise", policies=policies, reasons=shown)
        text = dict(play(made, CASES[:1])[0].parts())["attending"].nodes[0].text
        assert ("(because: It is round.)" in text) == shown


def test_the_attending_is_shown_where_the_specialists_looked_unless_left_out() -> None:
    for shown in (4, 1, 0):
        made = team(specialist="scripted:oracle", views=shown, attending="scripted:vote")
        for trajectory in play(made, CASES[:4]):
            parts = trajectory.parts()
            looked = [p.looks[-1] for role, p in parts if role.startswith("specialist")]
            assert looked
            first = dict(parts)["attending"].nodes[0]
            regions = min(shown, len({look.box_px for look in looked}))
            assert len(first.images) == 1 + regions
            assert first.text.count("Shown by: ") == regions
            assert not dict(parts)["attending"].looks


def test_a_referral_shows_where_that_specialist_looked() -> None:
    def write(conversation: Sequence[Message]) -> str:
        if any(message.role == "assistant" for message in conversation):
            return "<answer>A</answer>"
        call = '{"name": "refer", "arguments": {"specialty": "pathologist"}}'
        return f"<tool_call>{call}</tool_call>"

    made = team(
        specialist="scripted:oracle",
        attending="hf:boss",
        policies=saying(boss=write),
        opinions=1,
        flow="dynamic",
        views=0,
    )
    part = dict(play(made, CASES[:1])[0].parts())["attending"]
    doctor = dict(play(made, CASES[:1])[0].parts())["specialist:pathologist"]
    assert [look.tool for look in part.looks] == ["refer"]
    assert part.looks[0].box_px == doctor.looks[-1].box_px
    made.close()


def test_the_fixed_flow_in_triages_place_asks_for_as_many_opinions() -> None:
    for opinions, each in ((3, 1), (7, 2), (1, 1)):
        made = team(opinions=opinions)
        fixed = Consultation(made.recipe.without_triage(), made.policies)
        asked = Counter(b.role for b in play(fixed, CASES[:1])[0].branches)
        assert asked == Counter({f"specialist:{s}": each for s in THREE} | {"attending": 1})


def test_each_specialty_has_the_adapter_that_bears_its_name() -> None:
    tables = {"consultation": {"specialties": ["internal medicine"]}}
    tables["roles"] = {"specialist": {"policy": "hf:x", "adapter": "a-{specialty}/50"}}
    role = recipe_of(tables, "test", Path("/runs")).role("specialist")
    assert role.folder("internal medicine") == "/runs/a-internal-medicine/50"
    # Recorded with a run, and read again from there, it is still the same folder.
    role = recipe_of(tables, "test", Path("runs")).role("specialist")
    assert role.folder("internal medicine") == str(Path.cwd() / "runs/a-internal-medicine/50")


def test_a_team_is_checked_and_closed_through_its_roles() -> None:
    made = team()
    asyncio.run(made.check())
    made.close()
    assert made.kind == "text"
    assert not made.local_model


RECIPE = """
[consultation]
specialties = ["radiologist", "pathologist"]
[roles.triage]
policy = "scripted:oracle"
[roles.specialist]
policy = "scripted:prior"
[roles.attending]
policy = "scripted:vote"
"""


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("[consultation]", "[consultaton]"), "has no table [consultation]"),
        (("specialties", "specialtys"), "did you mean 'consultation.specialties'"),
        (("[roles.triage]", "[roles.triag]"), "did you mean 'triage'"),
        (('policy = "scripted:vote"', 'polcy = "x"'), "did you mean 'roles.attending.policy'"),
        (('policy = "scripted:vote"', ""), "no policy plays the attending"),
        (('policy = "scripted:vote"', 'policy = "scripted:vot"'), "did you mean 'vote'"),
        (
            ('"radiologist", "pathologist"', '"surgeon", "surgeon"'),
            "one specialty or more, each once",
        ),
        (('"radiologist", "pathologist"', ""), "one specialty or more, each once"),
        (("[roles.triage]", "[role.triage]"), "unknown key in"),
        (("[roles.triage]", "[triage]"), "did you mean 'roles.triage'"),
        (("[roles.triage]", "[attending]\n[roles.triage]"), "did you mean 'roles.attending'"),
        (("\n[consultation]", 'flow = "dynamic"\n[consultation]'), "'consultation.flow'"),
        (("[roles.triage]", "most = 3\n[roles.triage]"), "may choose 3 of 2 specialties"),
        (('"scripted:prior"', '"human"'), "a person cannot take part"),
        (('"pathologist"]', '"skin: face"]'), "a specialty cannot be called 'skin: face'"),
        (("[consultation]", "[consultation"), "is not TOML"),
        (('policy = "scripted:vote"', 'policy = "scripted:vote"\nadapter = "x"'), "no adapter"),
    ],
)
def test_a_wrong_recipe_is_one_line_with_the_mend(
    change: tuple[str, str], text: str, tmp_path: Path
) -> None:
    path = tmp_path / "c.toml"
    path.write_text(RECIPE.replace(*change))
    with pytest.raises(UserError) as error:
        load_policy(f"consultation:{path}")
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_it_is_named_like_any_policy(tmp_path: Path) -> None:
    (tmp_path / "consultation.toml").write_text(RECIPE)
    for name in (tmp_path, tmp_path / "consultation.toml"):
        policy = load_policy(f"consultation:{name}")
        assert isinstance(policy, Consultation)
        assert policy.spec == f"consultation:{name}"
    with pytest.raises(UserError, match="no consultation is described"):
        load_policy(f"consultation:{tmp_path / 'none.toml'}")


def test_a_role_keeps_its_own_rules_and_takes_the_rest_from_the_rollout() -> None:
    made = team()
    chooser, decider = made.recipe.role("triage"), made.recipe.role("attending")
    for size in (32, 64):
        given = Rules(tools=load_tools(["zoom"]), view_size=size, max_turns=3)
        triage, attending = (made.rules_of(role, given) for role in (chooser, decider))
        assert (triage.view_size, attending.view_size) == (size, size)
        assert (triage.max_turns, attending.max_turns) == (1, 3)
        assert (triage.tools, attending.tools) == ((), given.tools)
        assert (triage.rubric.name, attending.rubric.name) == ("triage", "outcome")
        assert made.rules_of(decider, given) is attending


def test_triage_that_may_choose_several_is_told_so_and_in_which_form() -> None:
    def both(conversation: Sequence[Message]) -> str:
        assert "Name up to 2, joined by commas." in conversation[1].text
        return "<answer>A, pathologist</answer>"

    made = team(triage="hf:both", policies=saying(both=both), most=2, opinions=1)
    for trajectory in play(made, CASES[:3]):
        roles = [role for role, _ in trajectory.parts()]
        assert roles[1:3] == ["specialist:radiologist", "specialist:pathologist"]


def test_a_run_says_who_took_part_and_goes_on_with_the_same_alone(tmp_path: Path) -> None:
    recipe = tmp_path / "c.toml"
    recipe.write_text(RECIPE)
    cases = "phantom,look=ct,question=diagnosis:test[:3]"
    words = ["rollout", cases, "--policy", f"consultation:{recipe}", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    asked = tomllib.loads((tmp_path / "run" / "recipe.toml").read_text())
    assert asked["consultation"]["specialties"] == ["radiologist", "pathologist"]
    assert asked["roles"]["attending"]["policy"] == "scripted:vote"
    RunFolder.open(tmp_path / "run").note(status="running")
    recipe.write_text(RECIPE.replace("scripted:prior", "scripted:random"))
    assert main(words) == 2
    recipe.write_text(RECIPE)
    assert main(words) == 0
    # What was recorded is itself a consultation.
    policy = load_policy(f"consultation:{tmp_path / 'run' / 'recipe.toml'}")
    assert policy.describe() == load_policy(f"consultation:{recipe}").describe()
    fixed = team(fixed=True).describe()
    assert fixed["consultation"]["triage"] is False
    assert fixed["roles"].keys() == {"specialist", "attending"}


def test_no_password_of_a_role_is_recorded(tmp_path: Path) -> None:
    recipe = RECIPE.replace("scripted:prior", "openai:http://me:secret@127.0.0.1:9/v1#x")
    (tmp_path / "c.toml").write_text(recipe)
    policy = load_policy(f"consultation:{tmp_path / 'c.toml'}")
    assert "secret" not in str(policy.describe())
    assert policy.describe()["roles"]["specialist"]["policy"] == "openai:http://127.0.0.1:9/v1#x"
    policy.close()


def test_parts_that_failed_are_told_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def down(_: Any) -> str:
        raise Failure("policy", "the endpoint is down", final=True)

    (tmp_path / "c.toml").write_text(RECIPE)
    team: Any = load_policy(f"consultation:{tmp_path / 'c.toml'}")
    team.policies.add("scripted:prior", Says(down))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medgym.commands.rollout.named", lambda *_: team)
        patch.setattr("medgym.commands.rollout.ready", lambda policy: policy)
        words = ["rollout", "phantom,look=ct,question=diagnosis:test[:2]", "--policy", "x"]
        assert main([*words, "--out", str(tmp_path / "run")]) == 0
    assert "failed parts of specialist:radiologist" in capsys.readouterr().out
    manifest = RunFolder.open(tmp_path / "run").manifest
    assert manifest["failed_parts"] == {"specialist:radiologist": 6}


def test_a_training_that_is_not_at_its_end_is_named_so(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "c", "", recipe={"consultation": {"opinions": 1}})
    with pytest.raises(UserError, match=r"not finished, .* --resume"):
        load_policy(f"consultation:{tmp_path / 'c'}")
    RunFolder.create(tmp_path / "single", "", recipe={"consultation": None}).finish()
    with pytest.raises(UserError, match="no consultation is described in"):
        load_policy(f"consultation:{tmp_path / 'single'}")


def test_what_its_policies_describe_is_recorded_too() -> None:
    class OfAFile(Says):
        def describe(self) -> dict[str, Any]:
            return {"sha256": "abc"}

    policies = RolePolicies()
    player = OfAFile(lambda _: "")
    player.spec = "openai:http://me:secret@127.0.0.1:9/v1#x"
    policies.add("hf:of-a-file", player)
    described = team(attending="hf:of-a-file", policies=policies).describe()
    assert described["policies"] == {"openai:http://127.0.0.1:9/v1#x": {"sha256": "abc"}}
    assert "policies" not in team().describe()
    assert recipe_of(described, "recorded").decider.policy == "hf:of-a-file"


def test_without_triage_it_does_not_matter_how_many_it_may_choose() -> None:
    tables = {"consultation": {"specialties": ["radiologist"], "triage": False, "most": 2}}
    roles = {"specialist": {"policy": "scripted:prior"}, "attending": {"policy": "scripted:vote"}}
    assert recipe_of(tables | {"roles": roles}, "test").chooser is None


def test_a_role_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medgym.consultation.role.load", lambda *_: dict)
    with pytest.raises(UserError, match="the role 'attending' makes no Role but a dict"):
        team()


SECOND_READER = """
[consultation]
specialties = ["radiologist", "ophthalmologist", "pathologist"]
opinions = 2

[roles.triage]
policy = "scripted:oracle"

[roles.specialist]
policy = "scripted:specialist,specialty={specialty},accuracy=0.7,alike=0.25"

[roles.second-reader]
prompt = "You are a second reader. You check the opinions of specialists."
policy = "scripted:oracle"
tools = ["zoom"]
hears = ["specialist"]

[roles.attending]
policy = "scripted:vote"
hears = ["specialist", "second-reader"]
"""


def test_a_role_of_another_name_plays_is_heard_and_is_stored(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(SECOND_READER)
    policy = load_policy(f"consultation:{tmp_path / 'c.toml'}")
    folder = RunFolder.create(tmp_path / "run", {"command": "test"})
    played = list(collect(CASES, policy, ZOOM, out=folder, ordered=True))
    for case, trajectory in zip(CASES, played, strict=True):
        validate(trajectory)
        roles = [branch.role for branch in trajectory.branches]
        own = f"specialist:{case.specialty}"
        assert roles == ["triage", own, own, "second-reader", "attending"]
        parts = dict(trajectory.parts())
        reader, attending = (parts[each].nodes[0].text for each in ("second-reader", "attending"))
        assert "You are a second reader." in reader
        assert [who for who, _ in read_opinions(reader)] == [case.specialty] * 2
        heard = [who for who, _ in read_opinions(attending)]
        assert Counter(heard) == {case.specialty: 2, "second-reader": 1}
        # The oracle looked, so the attending starts with what it showed.
        assert "Shown by: second-reader" in attending
        assert parts["second-reader"].correct
    assert content(folder.trajectories) == content(played)
    judgement = load_judge()(policy, CASES[:4], ZOOM, sampling=Sampling())
    assert judgement.roles["second-reader"].right.value == 1.0
    # What is recorded of it is the same consultation.
    recorded = recipe_of(policy.describe(), "recorded")
    assert recorded == recipe_of(tomllib.loads(SECOND_READER), "read")
    policy.close()


def test_a_role_that_is_heard_may_fail_without_ending_the_consultation() -> None:
    def broken(_: Sequence[Message]) -> str:
        raise Failure("policy", "the endpoint is down", final=True)

    data = tomllib.loads(SECOND_READER)
    data["roles"]["second-reader"]["policy"] = "hf:down"
    made = Consultation(recipe_of(data, "test"), saying(down=broken))
    for trajectory in play(made, CASES[:3]):
        parts = dict(trajectory.parts())
        assert parts["second-reader"].failure == "policy: the endpoint is down"
        assert "- second-reader: no answer" in parts["attending"].nodes[0].text
        assert trajectory.failure is None


def test_when_a_part_fails_those_beside_it_end_before_the_failure_is_seen() -> None:
    ended: list[str] = []

    async def part(name: str) -> str:
        try:
            await asyncio.sleep(0 if name == "fails" else 60)
            raise Failure("policy", "down")
        finally:
            ended.append(name)

    with pytest.raises(Failure, match="down"):
        asyncio.run(seen([part("fails"), part("beside")], ended))


async def seen(plays: Any, ended: list[str]) -> None:
    try:
        await side_by_side(plays)
    finally:
        assert ended == ["fails", "beside"]


def test_what_stands_for_a_failed_part_asks_what_the_part_asked() -> None:
    made = team()
    role, asked = made.recipe.role("specialist"), CASES[1].model_copy(update={"question": "Else?"})

    async def fails(*_: object, **__: object) -> Any:
        raise Failure("policy", "down", final=True)

    consulting = _Consulting(made, CASES[1], ZOOM, fails, None, 0)
    ((*_, stands),) = asyncio.run(consulting.play_all([RolePart(role, asked, THREE[0])]))
    assert (stands.question, stands.failure) == ("Else?", "policy: down")


def test_a_team_of_which_a_role_cannot_be_loaded_closes_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    closed: list[str] = []

    class Held(Says):
        def close(self) -> None:
            closed.append("closed")

    def load(spec: str, **_: bool) -> Policy:
        if "vote" in spec:
            raise UserError("it is not there; fix: none")
        return Held(lambda _: "")

    monkeypatch.setattr("medgym.consultation.role_policies.load_policy", load)
    path = tmp_path / "team.toml"
    path.write_text(
        "[consultation]\ntriage = false\n"
        "[roles.specialist]\npolicy = 'scripted:vote'\n"
        "[roles.attending]\npolicy = 'scripted:oracle'\n"
    )
    with pytest.raises(UserError, match="it is not there"):
        Consultation.from_spec(str(path), None)
    assert closed == ["closed"]


def test_policies_of_no_spec_do_not_share_an_adapter(tmp_path: Path) -> None:
    for name in (CONFIG, WEIGHTS):
        (tmp_path / name).touch()

    class Adapted(Says):
        takes_adapters = True

        def with_adapter(self, name: str, path: Path) -> Policy:
            return self

    policies = RolePolicies()
    made = [Adapted(lambda _: ""), Adapted(lambda _: "")]
    for name, policy in zip(("a", "b"), made, strict=True):
        policy.spec = ""
        policies.add(f"hf:{name}", policy)
    roles = [Role("attending", policy=f"hf:{name}", adapter=str(tmp_path)) for name in ("a", "b")]
    assert [policies.of(role) for role in roles] == made
