"""A model that is named and only loaded on Ray: what does not fit is said before a run begins."""

import asyncio
import importlib.util
import json
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")
if importlib.util.find_spec("ray") is None:  # not imported: medgym sets how it is to be, first
    pytest.skip("Ray is not installed", allow_module_level=True)

from medgym.agents.hf.policy import HFPolicy
from medgym.cli import main
from medgym.errors import UserError
from medgym.messages import Message, Reply, message
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout.ray.policy import NamedPolicy, PolicyActor, named
from tests.agents.hf.test_loading import adapter_of
from tests.agents.test_rendering import REWRITING


def other_base(tiny_processor: Any) -> Any:
    from medgym.train.tiny.model import TinyConfig, build_model

    config = TinyConfig(hidden=64, text_layers=2, vision_layers=1, heads=2)
    return build_model(config, tiny_processor.tokenizer, seed=0)


def changed(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture
def specs(tiny_folder: Path, tiny_processor: Any, tmp_path: Path) -> dict[str, str]:
    """Specs of models that do not fit, and what is said of each."""

    def spoilt(name: str, file: str, spoil: Callable[[Path], Any]) -> str:
        folder = shutil.copytree(tiny_folder, tmp_path / name)
        spoil(folder / file)
        return f"hf:{folder}"

    model = HFPolicy.from_spec(str(tiny_folder), None).model
    adapters = {
        "other": adapter_of(other_base(tiny_processor), tmp_path / "other"),
        "elsewhere": adapter_of(model, tmp_path / "elsewhere"),
        "narrower": adapter_of(model, tmp_path / "narrower"),
        "half": adapter_of(model, tmp_path / "half"),
    }
    changed(adapters["elsewhere"] / "adapter_config.json", target_modules="nothing")
    changed(adapters["narrower"] / "adapter_config.json", r=2)
    (adapters["half"] / "adapter_model.safetensors").unlink()
    template = "chat_template.jinja"
    return {
        f"hf:{tmp_path}/none": "no such model folder",
        spoilt("garbled", "config.json", lambda p: p.write_text("{")): "cannot load the model",
        spoilt("odd", "config.json", lambda p: changed(p, model_type="odd")): "cannot load",
        spoilt("mute", template, Path.unlink): "no chat template",
        spoilt("forgetful", template, lambda p: p.write_text(REWRITING)): "rewrites earlier turns",
        f"hf:{tiny_folder}@": "names no adapter",
        f"hf:{tiny_folder}@{tmp_path}/none": "no adapter in",
        f"hf:{tiny_folder}@{adapters['half']}": "no adapter in",
        f"hf:{tiny_folder}@{adapters['other']}": "does not fit the base",
        f"hf:{tiny_folder}@{adapters['elsewhere']}": "does not fit the model",
        f"hf:{tiny_folder}@{adapters['narrower']}": "does not fit the model",
    }


def test_what_does_not_fit_is_said_before_a_run_begins(
    specs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    for spec, said in specs.items():
        words = f"rollout phantom:test[:1] --backend ray --out {out} --policy {spec}".split()
        assert main(words) == 2
        *_, line = capsys.readouterr().err.splitlines()  # after what transformers logs
        with pytest.raises(UserError, match=said) as error:  # the same as where it is loaded here
            load_policy(spec)
        assert line == f"medgym: {error.value}"
        assert "; fix: " in line
        assert not out.exists()


def test_what_fits_is_not_loaded(tiny_folder: Path, tmp_path: Path) -> None:
    """As a model on a hub, whose weights only Ray fetches."""
    bare = shutil.copytree(tiny_folder, tmp_path / "bare")
    (bare / "model.safetensors").unlink()
    model = HFPolicy.from_spec(str(tiny_folder), None).model
    adapter = adapter_of(model, tmp_path / "adapter")
    unfit = adapter_of(model, tmp_path / "unfit")
    changed(unfit / "adapter_config.json", r=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for spec in (f"hf:{bare}", f"hf:{bare}@{adapter}"):
            policy = named(spec)
            assert isinstance(policy, NamedPolicy)
            asyncio.run(policy.check())
    with pytest.raises(UserError, match="does not fit the model"):
        asyncio.run(named(f"hf:{bare}@{unfit}").check())


def test_an_actor_sends_only_what_is_kept_of_a_reply() -> None:
    class Endless(Policy):
        async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
            return Reply("x" * 10**6)

    actor = PolicyActor({})
    part: Any = ()
    actor._unpacked.thing = Endless()
    reply = asyncio.run(actor.act(part, 0, 0, [message("user", "?")], Sampling()))
    assert reply is not None
    assert len(reply.text) < 17_000
