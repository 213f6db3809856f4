"""`medgym doctor`: it passes what is sound, and gives every seeded defect its own name."""

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch

from medgym.agents.hf.decoder import Decoder
from medgym.agents.hf.policy import HFPolicy
from medgym.cli import main
from medgym.commands.shared_options import cases_and_rules
from medgym.episode import Episode
from medgym.metrics import recorded_tokens
from medgym.metrics.sight import Change, Sight
from medgym.policy import load_policy
from medgym.rollout import collect
from medgym.storage.adapters import publish
from medgym.storage.run_folder import RunFolder
from medgym.train.doctor import sight as doctor_sight
from medgym.train.doctor.checks import Check, features, template, vision_tokens
from medgym.train.doctor.command import examine
from medgym.train.doctor.sight import agreement, images, records, sees, verdict_of
from medgym.train.doctor.subject import Subject
from medgym.train.doctor.subject import subject_of as named
from medgym.train.grpo import batch
from medgym.train.models.checkpoint import load_model
from medgym.train.recipe.schema import parse_recipe
from tests.families import FAMILIES, blind, build

SPEC = "phantom,look=radiograph,question=kind:test[:3]"
CHECKS = [
    "template", "tool images", "features", "view size", "images", "vision tokens", "agreement",
    "sight", "tool form",
]  # fmt: skip


def subject_of(model: Any, processor: Any) -> Subject:
    cases, rules = cases_and_rules(SPEC, tools=["zoom"], max_turns=3)
    return Subject(model, processor, cases, rules)


@pytest.fixture(scope="module")
def loaded(tiny_folder: Path) -> Any:
    model, processor = load_model(tiny_folder)
    return model.eval(), processor


@pytest.fixture
def fresh(loaded: Any) -> Subject:
    """A subject whose model a test may change."""
    return subject_of(copy.deepcopy(loaded[0]), loaded[1])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of an examination is the check of the tool form, which never fails: it is left out."""
    passed = Check("tool form", "pass", {})
    monkeypatch.setattr("medgym.train.doctor.tool_form.tool_form", lambda _: passed)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any, str]:
    """Exit status, what JSON was printed, and what was said on stderr."""
    status = main(["doctor", *words, "--json"])
    said = capsys.readouterr()
    return status, json.loads(said.out) if said.out else None, said.err


def test_what_is_not_there_is_said_before_anything_heavy_is_imported() -> None:
    code = (
        "import sys; from medgym.cli import main; assert main(['doctor', './nowhere']) == 2; "
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("medgym: no such model folder: ./nowhere; fix: ")


def test_a_sound_model(tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found, _ = run(capsys, str(tiny_folder), "--cases", SPEC)
    assert status == 0
    assert [check["check"] for check in found] == CHECKS
    assert all(check.keys() == {"check", "verdict", "figure", "fix"} for check in found)
    by_name = {check["check"]: check for check in found}
    for name in ("template", "tool images", "features", "images", "agreement"):
        assert by_name[name]["verdict"] == "pass", by_name[name]
    assert by_name["vision tokens"]["figure"]["sampled"] == 0
    # Of random weights: it sees, and knows nothing.
    assert by_name["sight"]["verdict"] == "warn"
    assert by_name["agreement"]["figure"]["kl"] < 1e-8


def test_the_table_is_for_people(
    tiny_folder: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", f"hf:{tiny_folder}", "--cases", SPEC]) == 0
    out = capsys.readouterr().out
    for word in ("check", "verdict", "figure", "fix", "sight", "pass", "kl"):
        assert word in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["./nowhere"], "no such model folder: ./nowhere; fix: "),
        (["scripted:oracle"], "cannot look into scripted: from outside; fix: "),
        (["openai:http://127.0.0.1:9/v1#m"], "nothing answers"),
        (["FOLDER", "--model", "FOLDER"], "--model is of an engine; fix: "),
        (["FOLDER", "--cases", "fantom:test"], "did you mean 'phantom'"),
        (["FOLDER@nowhere"], "fix: "),
        ([], "fix: see medgym doctor --help"),
    ],
)
def test_asked_wrongly(
    tiny_folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    words = [word.replace("FOLDER", str(tiny_folder)) for word in words]
    assert main(["doctor", *words]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("medgym:")]
    assert said in line


def test_a_blind_checkpoint_fails(
    tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Gemma 3 as transformers makes it anew: its projector is all zeros."""
    model, processor = build("gemma3")
    torch.nn.init.zeros_(model.model.multi_modal_projector.mm_input_projection_weight)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    status, found, said = run(capsys, str(tmp_path), "--cases", "phantom:test[:3]")
    assert status == 1
    assert "1 of 9 checks failed: sight; fix: " in said
    checks = {check["check"]: check for check in found}
    assert checks["tool images"]["verdict"] == "warn", "the template knows no tools: a user message"
    assert checks["sight"]["verdict"] == "fail"
    assert checks["sight"]["fix"].startswith("the model is blind")
    assert checks["sight"]["figure"]["moved"] == 0.0


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_sound(family: str, quick: None) -> None:
    found = {check.check: check for check in examine(subject_of(*build(family)))}
    for name in ("template", "features", "images", "agreement"):
        # LLaVA-OneVision's template asks for a reply otherwise than it writes one.
        odd = name == "template" and family == "llava-onevision"
        assert found[name].verdict == ("warn" if odd else "pass"), found[name]
    role = "user" if family in ("gemma3", "gemma4") else "tool"
    assert found["tool images"].figure["role"] == role
    assert found["vision tokens"].figure["sampled"] == 0
    # Random weights of linear attention hardly carry an image as far as the answer.
    blind = family == "qwen3.5"
    assert (found["sight"].verdict == "fail") == blind


def test_zeroed_features_are_called_blindness(fresh: Subject) -> None:
    blind(fresh.model)
    assert images(fresh).verdict == "pass", "they reach the model"
    check = sees(fresh)
    assert check.verdict == "fail"
    assert "blind" in check.fix


def drop_in_environment(patch: pytest.MonkeyPatch) -> None:
    """From here on what a tool shows is not shown."""
    step = Episode.step

    def without_images(self: Episode, reply: Any) -> Any:
        answer = step(self, reply)
        if answer is not None:
            kept = tuple(part for part in answer.content if part not in answer.images)
            self.messages[-1] = answer = replace(answer, content=kept)
        return answer

    patch.setattr(Episode, "step", without_images)


def drop_in_trainer(patch: pytest.MonkeyPatch, *modules: Any) -> None:
    """From here on modules that make rows for training keep only the first node's images."""
    whole = recorded_tokens.read_nodes

    def only_first_images(*given: Any) -> Any:
        first, *rest = whole(*given)
        return (first, *(replace(node, images=()) for node in rest))

    for module in modules:
        patch.setattr(module, "read_nodes", only_first_images)


def test_images_that_the_environment_drops_are_called_lost(
    fresh: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop_in_environment(monkeypatch)
    check = images(fresh)
    assert check.verdict == "fail"
    assert "lost" in check.fix
    assert (check.figure["made"], check.figure["shown"]) == (6, 3)
    assert sees(fresh).verdict != "fail", "the model itself sees"


def test_images_that_the_trainer_drops_are_called_lost(
    fresh: Subject, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop_in_trainer(monkeypatch, recorded_tokens, batch)
    found = {check.check: check for check in examine(fresh)}
    assert found["images"].verdict == found["sight"].verdict == "fail"
    assert "lost" in found["images"].fix
    assert "lost" in str(found["sight"].figure["error"])
    assert "blind" not in found["sight"].fix


def with_template(subject: Subject, change: Callable[[str], str]) -> Subject:
    processor = copy.copy(subject.processor)
    processor.chat_template = change(processor.chat_template)
    return replace(subject, processor=processor)


PLAIN = """{% for m in messages %}<|im_start|>{{ m.role }}
{% for c in m.content %}{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>\
{% else %}TEXT{% endif %}{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def test_a_template_that_rewrites_earlier_turns_ends_it(fresh: Subject) -> None:
    shortens = "{{ c.text[:2] if m.role == 'assistant' and messages|length > 2 else c.text }}"
    (check,) = examine(with_template(fresh, lambda _: PLAIN.replace("TEXT", shortens)))
    assert (check.check, check.verdict) == ("template", "fail")
    assert "rewrites earlier turns" in str(check.figure["error"])
    assert check.fix


def test_a_template_that_drops_thoughts_is_warned_of(fresh: Subject) -> None:
    """As reasoning models' templates do; who continues token ids is not touched by it."""
    forgetful = "{{ c.text.split('</think>')[-1] if m.role == 'assistant' else c.text }}"
    check = template(with_template(fresh, lambda _: PLAIN.replace("TEXT", forgetful)))
    assert check.verdict == "warn"
    assert check.figure["same"] < check.figure["tokens"]  # type: ignore[operator]


def test_a_processor_of_another_model_is_found(fresh: Subject) -> None:
    processor = copy.deepcopy(fresh.processor)
    processor.image_processor.merge_size = 1
    check = features(replace(fresh, processor=processor))
    assert check.verdict == "fail"
    assert "placeholders" in check.fix or "refused" in str(check.figure)


def test_a_sampler_that_can_sample_vision_tokens_is_found(
    fresh: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lenient(self: HFPolicy, runner: Any, prefix_cache: Any) -> Decoder:
        banned = self.vision_token_ids[:1]
        return Decoder(runner, prefix_cache, self.renderer.stop_token_ids, banned)

    monkeypatch.setattr(HFPolicy, "_decoder_of", lenient)
    check = vision_tokens(fresh)
    assert check.verdict == "fail"
    assert check.figure["sampled"] == check.figure["of"]


def test_a_trainer_with_dropout_does_not_agree(fresh: Subject) -> None:
    assert fresh.own, "the sampler has spoken"
    for module in fresh.model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.9
    check = agreement(fresh)
    assert check.verdict in ("warn", "fail")
    assert check.figure["max abs"] > 0.01  # type: ignore[operator]


def test_a_check_that_breaks_is_a_failure_of_its_own(
    fresh: Subject, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("no such kernel\nand more")

    monkeypatch.setattr(doctor_sight, "agreement_on", broken)
    found = {check.check: check for check in examine(fresh)}
    assert found["agreement"] == Check(
        "agreement", "fail", {"error": "ValueError: no such kernel"}, "see what raises it"
    )
    assert found["sight"].verdict != "fail"


def judged(*changes: float, spread: float = 0.0) -> Check:
    """The verdict on patients whose right answer loses so much without its own images."""
    return verdict_of(
        Sight(
            tuple(
                Change({"answer": value + spread}, {"answer": value}, abs(value) + spread, str(n))
                for n, value in enumerate(changes)
            )
        )
    )


def test_what_the_verdicts_on_sight_mean() -> None:
    assert judged(2.0, 1.0, 3.0, 2.0).verdict == "pass"
    assert judged(2.0, -1.0, 0.5, -2.0).verdict == "warn", "it sees, but not what is asked"
    assert judged(0.0, 0.0, 0.0).fix.startswith("the model is blind")
    assert judged(0.001, 0.002, -0.001).fix.startswith("the model is as good as blind")
    against = judged(-2.0, -3.0, -2.0, -2.0)
    assert against.verdict == "fail"
    assert "speak against the right answers" in against.fix
    assert judged(-2.0, -3.0, -1.0).verdict == "warn", "three patients may be chance"
    assert judged(1.0).verdict == "warn", "one patient proves nothing"
    # A few answers of which a model is sure do not make a mean of their own.
    assert judged(30.0, -1.0, -1.0, -1.0, -1.0, -1.0).verdict == "warn"
    figure = judged(2.0, 1.0, 3.0, 2.0).figure
    assert 0.5 < figure["low"] < figure["match"] < figure["high"]  # type: ignore[operator]


def test_cases_of_one_patient_count_once() -> None:
    changes = [Change({"answer": 1.0}, {"answer": v}, 1.0, "one") for v in (1.0, 1.1, 0.9)]
    assert verdict_of(Sight(tuple(changes))).figure["patients"] == 1


@pytest.fixture
def trained(tiny_folder: Path, tmp_path: Path) -> RunFolder:
    """What a training run leaves: a cold start, an adapter, demonstrations with their images."""
    from peft import LoraConfig, get_peft_model

    recipe = parse_recipe(
        {
            "name": "small",
            "model": {"path": str(tiny_folder)},
            "cases": {"train": SPEC, "test": SPEC},
            "rollout": {"max_turns": 3, "view_size": 64},
        },
        "here",
    )
    place = RunFolder.create(
        tmp_path / "run", "name = 'small'", recipe=json.loads(recipe.model_dump_json())
    )
    shutil.copytree(tiny_folder, place.path / "cold_start")
    model, processor = load_model(tiny_folder)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=".*language_model.*q_proj"))
    adapted.save_pretrained(tmp_path / "adapter")
    publish(tmp_path / "adapter", place.path, "policy", 7)
    subject = subject_of(adapted, processor)
    shown = collect(
        subject.cases,
        subject.policy.imitating(load_policy("scripted:oracle")),
        subject.rules,
        out=place,
    )
    assert len(list(shown)) == 3
    return place


def test_a_run_is_examined_with_its_records(
    trained: RunFolder, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = named(str(trained.path), None)
    assert subject.model.active_adapter == "default"
    assert (len(subject.cases), subject.rules.max_turns) == (3, 3)
    status, found, _ = run(capsys, str(trained.path))
    assert status == 0
    assert [check["check"] for check in found] == [*CHECKS, "records"]
    assert found[-1] == {
        "check": "records",
        "verdict": "pass",
        "figure": {"read": 3, "of": 3, "images": 6, "missing": 0},
        "fix": "",
    }


def test_records_without_an_image_fail(
    trained: RunFolder, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    next((trained.path / "images").rglob("*.png")).unlink()
    status, found, _ = run(capsys, str(trained.path))
    assert status == 1
    assert (found[-1]["verdict"], found[-1]["figure"]["missing"]) == ("fail", 1)
    assert "images are lost" in found[-1]["fix"]


def test_records_of_which_an_image_was_dropped_fail(trained: RunFolder) -> None:
    store = trained.trajectories
    (whole, *_) = store
    first, look, shown, *rest = whole.nodes
    ids = tuple(t for t in shown.token_ids if t not in whole.vision_token_ids)
    cut = replace(shown, images=(), token_ids=ids, loss_mask=(0,) * len(ids))
    text = replace(whole, kind="text", nodes=(first, look, cut, *rest))
    store.write([text])
    check = records(named(str(trained.path), None))
    assert check.verdict == "fail"
    assert "2 views were made and 1 images shown" in str(check.figure["error"])


def test_a_run_that_has_no_model_yet(
    trained: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(trained.path / "cold_start")
    assert main(["doctor", str(trained.path)]) == 2
    assert "holds no model yet; fix: " in capsys.readouterr().err


def test_a_rollout_of_something_else_has_its_records_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    assert main(["rollout", SPEC, "--policy", "scripted:oracle", "--out", out]) == 0
    capsys.readouterr()
    status, found, _ = run(capsys, out)
    assert status == 0
    assert [(check["check"], check["verdict"]) for check in found] == [("records", "pass")]
