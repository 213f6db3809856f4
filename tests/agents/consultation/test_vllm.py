"""A consultation whose roles are adapters on one real vLLM server, on Ray and in this process.

It needs the server that `test_openai_vllm.py` describes. Every role has an adapter: on a CPU, vLLM
gives requests of the bare base an adapter's weights where they share a batch with that adapter's.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from medgym.agents.openai.capabilities import served_models
from medgym.agents.openai.policy import OpenAIPolicy
from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.policy import Sampling, load_policy
from medgym.rollout import collect
from medgym.tool import load_tools
from medgym.trajectory import Trajectory, validate

URL = os.environ.get("MEDGYM_VLLM_URL", "")

pytestmark = [
    pytest.mark.skipif(not URL, reason="MEDGYM_VLLM_URL names no server"),
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("server_alone"),
]

CASES = "phantom,look=radiograph,question=kind:train[60:63]"
RULES = Rules(tools=load_tools(["zoom"]), max_turns=3, view_size=64)

RECIPE = """
[consultation]
specialties = ["radiologist", "pathologist"]
opinions = 2

[roles.triage]
policy = "openai:{url}#base"
adapter = "{folder}/namer"

[roles.specialist]
policy = "openai:{url}#base"
adapter = "{folder}/triage"
max_turns = 2

[roles.attending]
policy = "openai:{url}#base"
adapter = "{folder}/attending"
"""


@pytest.fixture(scope="module")
def adapters() -> Path:
    """The folder of the adapters that belong to the model that is served."""
    policy = load_policy(f"openai:{URL}#base")
    assert isinstance(policy, OpenAIPolicy)
    models = policy._endpoint.wait(served_models(policy._endpoint))
    policy.close()
    assert models is not None
    return Path(models["base"]["root"]).parent / "adapters"


@pytest.fixture
def no_adapters() -> Iterator[None]:
    """The server as it was before."""
    yield
    policy = load_policy(f"openai:{URL}#base")
    assert isinstance(policy, OpenAIPolicy)
    for name in policy._endpoint.wait(served_models(policy._endpoint)) or {}:
        if name != "base":
            policy.drop_adapter(name)
    policy.close()


def consult(folder: Path, adapters: Path, **options: object) -> list[Trajectory]:
    path = folder / "consult.toml"
    path.write_text(RECIPE.format(url=URL, folder=adapters))
    policy = load_policy(f"consultation:{path}")
    sampling = Sampling(temperature=0, max_tokens=24)
    played = list(collect(open_cases(CASES), policy, RULES, sampling=sampling, **options))  # type: ignore[arg-type]
    policy.close()
    for trajectory in played:
        assert {part.failure for _, part in trajectory.parts()} == {None}
        validate(trajectory)
    return sorted(played, key=lambda each: each.case_id)


def said(played: list[Trajectory]) -> list[list[tuple[str, tuple[tuple[int, ...], ...]]]]:
    return [
        [(role, tuple(node.token_ids for node in part.nodes)) for role, part in each.parts()]
        for each in played
    ]


def test_on_ray_and_here_they_say_the_same_by_adapters_loaded_into_the_running_server(
    adapters: Path, tmp_path: Path, no_adapters: None
) -> None:
    pytest.importorskip("ray")
    here = consult(tmp_path, adapters)
    there = consult(tmp_path, adapters, backend="ray", workers=2)
    assert said(here) == said(there)
    for trajectory in (*here, *there):
        parts = dict(trajectory.parts())
        triage, *doctors, attending = (role for role, _ in trajectory.parts())
        assert (triage, attending) == ("triage", "attending")
        assert len(doctors) == 2
        assert set(doctors) < {"specialist:radiologist", "specialist:pathologist"}
        assert {part.kind for part in parts.values()} == {"sampled"}
        versions = [parts[role].version for role in (triage, doctors[0], attending)]
        assert all(versions)
        assert len(set(versions)) == 3
