"""How a model is loaded: the options of `[model]` and of `hf:PATH?...`, each with its effect."""

import ast
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

import torch

from medgym.errors import UserError
from medgym.model_options import ModelOptions, read_model
from medgym.models import load_model, load_processor
from medgym.policy import load_policy, read_spec


def test_options_are_written_as_they_are_read() -> None:
    options = ModelOptions(dtype="bfloat16", trust_remote_code=True, revision="a/b")
    assert options.query() == "?dtype=bfloat16&revision=a/b&trust_remote_code=true"
    assert read_model("hf", "model" + options.query(), "adapter") == ("model", "adapter", options)
    assert ModelOptions().query() == ""
    for odd in ("a&b", "a?b=c", "a@b", "50%"):
        options = ModelOptions(attn_implementation=odd)
        assert read_model("hf", "model" + options.query())[2] == options


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("dtyp=float32", "dtype"),
        ("dtype=half", "is not known; fix: one of auto, float32, bfloat16, float16"),
        ("quantization=2bit", "is not known; fix: one of 4bit, 8bit"),
        ("trust_remote_code=yes", "true or false"),
        ("device=gpu", "is no device; fix: cpu, cuda or cuda:N"),
        ("device=cuda:99", "this machine shows"),
        ("revision=v1", "is a folder, which has no revision 'v1'; fix: remove revision"),
        ("attn_implementation=flash_attention_2", "cannot be loaded with attn_implementation"),
        ("attn_implementation=nothing", "cannot be loaded with attn_implementation 'nothing'"),
    ],
)
def test_what_cannot_be_is_one_line_before_weights_are_loaded(
    query: str, said: str, tiny_folder: Path
) -> None:
    kind, rest, adapter = read_spec(f"hf:{tiny_folder}?{query}")
    for ask in (lambda: kind.check_spec(rest, adapter), lambda: kind.from_spec(rest, adapter)):
        with pytest.raises(UserError) as caught:
            ask()
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_missing_library_is_named(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medgym.model_loading.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"needs the library bitsandbytes, .*; fix: pip install"):
        load_policy(f"hf:{tiny_folder}?quantization=4bit")


def test_each_option_reaches_the_model(tiny_folder: Path) -> None:
    loaded: Any = load_policy(
        f"hf:{tiny_folder}?dtype=bfloat16&attn_implementation=eager&device=cpu"
    )
    assert loaded.model.dtype == torch.bfloat16
    assert loaded.model.device.type == "cpu"
    assert loaded.model.config._attn_implementation == "eager"
    plain = load_model(str(tiny_folder)).model
    assert plain.dtype == (torch.float32 if not torch.cuda.is_available() else plain.dtype)
    assert plain.config._attn_implementation == "sdpa"


def with_code(folder: Path, tiny_folder: Path) -> Path:
    """The tiny model as a checkpoint that brings its own classes."""
    shutil.copytree(tiny_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "own_model"
    config["auto_map"] = {
        "AutoConfig": "own.OwnConfig",
        "AutoModelForImageTextToText": "own.OwnModel",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(
        "from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration\n"
        "class OwnConfig(Qwen3VLConfig):\n    model_type = 'own_model'\n"
        "class OwnModel(Qwen3VLForConditionalGeneration):\n    config_class = OwnConfig\n"
    )
    return folder


def test_code_of_a_model_is_run_only_where_that_is_said(
    tiny_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "c"))
    folder = with_code(tmp_path / "own", tiny_folder)
    for weights in (True, False):
        with pytest.raises(UserError, match="own, which is run only if you say so; fix: ") as said:
            load_model(str(folder), weights=weights)
        assert "trust_remote_code = true" in str(said.value)
        assert "\n" not in str(said.value)
    with caplog.at_level(logging.WARNING, "medgym"):
        model = load_model(str(folder), None, ModelOptions(trust_remote_code=True)).model
    assert type(model).__name__ == "OwnModel"
    assert f"the Python code that comes with {folder} is run" in caplog.text


@pytest.mark.parametrize("load", [load_model, load_processor])
def test_code_of_a_processor_is_neither_run_nor_asked_about(
    load: Any, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> str:
        pytest.fail("a question on stdin")

    monkeypatch.setattr("builtins.input", asked)
    folder = shutil.copytree(tiny_folder, tmp_path / "own")
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    for name in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        path = folder / name
        config = json.loads(path.read_text()) if path.exists() else {}
        config["auto_map"] = {"AutoProcessor": "own.Own", "AutoTokenizer": ["own.Own", "own.Own"]}
        path.write_text(json.dumps(config | {"processor_class": "Own", "tokenizer_class": "Own"}))
    with pytest.raises(UserError) as said:
        load(str(folder))
    assert "run only if you say so; fix: read that code" in str(said.value)
    assert not (tmp_path / "ran").exists()


def test_every_loading_says_whether_code_may_be_run() -> None:
    root, silent = Path(__file__).parents[1], []
    for room in ("medgym", "agents", "tools", "evals", "train", "benchmarks"):
        for path in (root / room).rglob("*.py"):
            text = path.read_text()
            for node in ast.walk(ast.parse(text)) if "from_" in text and "Auto" in text else ():
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                    continue
                maker = node.func.value
                named = isinstance(maker, ast.Name) and maker.id.startswith("Auto")
                if named and node.func.attr in ("from_pretrained", "from_config"):
                    said = {each.arg or ast.unparse(each.value) for each in node.keywords}
                    if not any(s == "trust_remote_code" or s.startswith("hub") for s in said):
                        silent.append(f"{path.relative_to(root)}:{node.lineno}")
    assert silent == []


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_the_language_model_alone_is_quantized(bits: str, tiny_folder: Path) -> None:
    bnb = pytest.importorskip("bitsandbytes")
    kind = {"4bit": bnb.nn.Linear4bit, "8bit": bnb.nn.Linear8bitLt}[bits]
    model = load_model(str(tiny_folder), None, ModelOptions(quantization=bits)).model  # type: ignore[arg-type]
    linear = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    small = {name for name, module in linear.items() if isinstance(module, kind)}
    assert small == {name for name in linear if ".language_model." in name}
