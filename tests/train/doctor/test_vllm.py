"""The doctor on a real vLLM server, which `MEDGYM_VLLM_URL` names (see `test_openai_vllm`)."""

import json
import os
from pathlib import Path

import pytest

from medgym.agents.openai.capabilities import served_models
from medgym.agents.openai.policy import OpenAIPolicy
from medgym.cli import main
from medgym.policy import load_policy

URL = os.environ.get("MEDGYM_VLLM_URL", "")

pytestmark = [
    pytest.mark.skipif(not URL, reason="MEDGYM_VLLM_URL names no server"),
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("server_alone"),
]


def test_a_server_is_examined(capsys: pytest.CaptureFixture[str]) -> None:
    policy = load_policy(f"openai:{URL}#base")
    assert isinstance(policy, OpenAIPolicy)
    base = Path((policy._endpoint.wait(served_models(policy._endpoint)) or {})["base"]["root"])
    policy.close()
    cases = "phantom,look=radiograph,question=kind:test[:4]"
    named = ["doctor", f"openai:{URL}#base", "--model", str(base), "--cases", cases, "--json"]
    assert main(named) == 0
    found = {check["check"]: check for check in json.loads(capsys.readouterr().out)}
    assert {name: check["verdict"] for name, check in found.items()} == dict.fromkeys(
        ("replies", "images", "agreement", "sight"), "pass"
    )
    assert found["agreement"]["figure"]["kl"] < 1e-4
