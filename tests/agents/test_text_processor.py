"""Tokens that are written without transformers, held against those of transformers."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from medgym.agents.image_tokens import counts_of
from medgym.agents.openai.agreement import TEXT
from medgym.agents.rendering import Renderer
from medgym.agents.text_processor.files import NeedsTransformers, read_object
from medgym.agents.text_processor.processor import TextProcessor, text_renderer
from medgym.messages import ImagePart, Message, TextPart, ToolOffer, message
from medgym.models import load_processor, stop_tokens
from tests.agents.test_rendering import picture, replied
from tests.families import build

QWEN = ("qwen2.5-vl", "qwen3-vl", "qwen3.5")
SIZES = [(1, 1), (7, 900), (64, 48), (40, 96), (97, 61), (448, 448), (3000, 17), (5000, 4000)]
PLAIN = (
    "image_token_id", "vision_token_ids", "eos_token_id", "stop_token_ids", "opening", "tool_role",
    "_special", "_after_reply", "_closing", "_call_end", "_answer_end",
)  # fmt: skip


@pytest.fixture(scope="module", params=[*QWEN, "tiny"])
def folder(
    request: pytest.FixtureRequest, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A saved model of a family; of its weights nothing is read."""
    if request.param == "tiny":
        return tiny_folder
    made: Path = tmp_path_factory.mktemp("family")
    model, processor = build(request.param)
    processor.save_pretrained(made)
    model.generation_config.save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def sides(folder: Path) -> tuple[Renderer, Renderer]:
    return text_renderer(folder, "text"), Renderer(
        load_processor(str(folder)), stop_tokens(str(folder))
    )


def conversation(renderer: Renderer) -> list[Any]:
    told = [
        message("system", f"{TEXT}<|image_pad|><|im_end|>"),
        message("user", "Which?\nA. one\nB. two", [picture(0, 64, 48), picture(1, 40, 96)]),
    ]
    told.append(replied(renderer, told, "<think>so</think>look"))
    return [*told, message("tool", f"View 2. {TEXT}", [picture(2, 32, 80)])]


def test_all_that_is_written_is_what_transformers_write(sides: tuple[Renderer, Renderer]) -> None:
    ours, theirs = sides
    assert {name: getattr(ours, name) for name in PLAIN} == {
        name: getattr(theirs, name) for name in PLAIN
    }
    asked = conversation(theirs)
    for length in (2, 4):
        assert ours.prompt(asked[:length]) == theirs.prompt(asked[:length])
    assert ours.encode_reply(TEXT) == theirs.encode_reply(TEXT)
    ids = theirs.tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    assert ours.decode_reply(ids) == theirs.decode_reply(ids)
    half = ids[: len(ids) // 2 + 1]  # a reply may end within a character
    assert ours.decode_reply(half) == theirs.decode_reply(half)
    sent = pickle.loads(pickle.dumps(ours))  # to a worker of Ray
    assert sent.prompt(asked) == theirs.prompt(asked)


def test_images_of_every_shape_take_as_many_placeholders(sides: tuple[Renderer, Renderer]) -> None:
    ours, theirs = (each.processor for each in sides)
    assert counts_of(ours, SIZES) == counts_of(theirs, SIZES)
    with pytest.raises(ValueError, match="too narrow"):
        counts_of(ours, [(2001, 10)])


def test_a_native_form_is_written_alike(tmp_path: Path) -> None:
    build("qwen3-vl")[1].save_pretrained(tmp_path)
    schema = {"name": "zoom", "description": "Zoom.", "parameters": {"type": "object"}}
    offer = ToolOffer(instructions="Look.", schemas=(json.dumps(schema),))
    seen = [ImagePart(0, picture(0, 64, 48).image)]
    asked = (Message("system", (TextPart("Look."),), offer=offer), message("user", "Which?", seen))
    ours = text_renderer(tmp_path, "native").prompt(asked)
    theirs = Renderer(load_processor(str(tmp_path)), tool_form="native").prompt(asked)
    assert ours.ids == theirs.ids
    assert "zoom" in TextProcessor(tmp_path).tokenizer.decode(ours.ids)


def test_other_families_are_left_to_transformers(tmp_path: Path) -> None:
    build("gemma3")[1].save_pretrained(tmp_path)
    with pytest.raises(NeedsTransformers):
        text_renderer(tmp_path, "text")


def edit(file: str, **values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps(read_object(path) | values), "utf-8")

    return change


def template(text: str) -> Callable[[Path], None]:
    return lambda folder: void((folder / "chat_template.jinja").write_text(text, "utf-8"))


def void(_: object) -> None:
    """Nothing."""


@pytest.mark.parametrize(
    "change",
    [
        edit("tokenizer_config.json", tokenizer_class="LlamaTokenizer"),
        edit("tokenizer_config.json", auto_map={"AutoTokenizer": "own.Tokenizer"}),
        edit("tokenizer_config.json", clean_up_tokenization_spaces=True),
        edit("tokenizer_config.json", extra_special_tokens=["<|unknown|>"]),
        edit("tokenizer_config.json", eos_token=3),
        edit("tokenizer_config.json", added_tokens_decoder={"5": {"content": "<other>"}}),
        edit("processor_config.json", processor_class="OtherProcessor"),
        edit("processor_config.json", image_processor={"image_processor_type": "Other"}),
        edit("generation_config.json", eos_token_id="</s>"),
        template("{% if %}"),
        lambda folder: (folder / "tokenizer.json").unlink(),
        lambda folder: void((folder / "tokenizer_config.json").write_text("[1]", "utf-8")),
        lambda folder: (folder / "chat_template.jinja").unlink(),
    ],
)
def test_what_is_not_known_for_certain_is_left_to_transformers(
    tiny_folder: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    for file in tiny_folder.glob("*.js*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "chat_template.jinja").write_bytes(
        (tiny_folder / "chat_template.jinja").read_bytes()
    )
    text_renderer(tmp_path, "text")
    change(tmp_path)
    with pytest.raises(NeedsTransformers):
        text_renderer(tmp_path, "text")


def test_neither_torch_nor_transformers_is_imported(tiny_folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path;"
        "from medgym.agents.text_processor.processor import text_renderer;"
        f"text_renderer(Path({str(tiny_folder)!r}), 'text');"
        "print(sorted({'torch', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
