"""`qwen_vl_utils.process_vision_info` takes our messages, and returns exactly our images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medgym.cases import Case
from medgym.env import MedEnv
from medgym.imaging.study import ImageRef
from medgym.messages import render_call
from medgym.uris import file_uri

vision = pytest.importorskip("qwen_vl_utils.vision_process")


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """Two images, one of them not square, both larger than any view that is asked for."""
    refs = []
    for number, size in enumerate([(600, 600), (896, 672)]):
        path = tmp_path / f"{number}.png"
        Image.effect_noise(size, 80).save(path)
        refs.append(ImageRef(uri=file_uri(path)))
    return Case(
        id="a/test/0", images=tuple(refs), question="Which?", answer="x", group="g", source="a",
        split="test",
    )  # fmt: skip


def same(given: list[Image.Image], shown: list[Image.Image]) -> bool:
    pairs = list(zip(given, shown, strict=True))
    return all(np.array_equal(np.asarray(one), np.asarray(two)) for one, two in pairs)


def shown_in(*messages: dict[str, Any]) -> list[Image.Image]:
    parts = [part for each in messages for part in each["content"]]
    return [part["image"] for part in parts if isinstance(part, dict) and "image" in part]


def played(case: Case, size: int) -> list[dict[str, Any]]:
    """A conversation of two looks, as a loop around `MedEnv` keeps it."""
    env = MedEnv([case], view_size=size)
    info = env.reset(seed=0)[1]
    said = [{"role": "system", "content": info["system"]}, info["message"]]
    for view in (0, 1):
        reply = render_call("zoom", {"view": view, "box": [100, 200, 600, 700]})
        info = env.step(reply)[4]
        said += [{"role": "assistant", "content": reply}, info["message"]]
    return said


@pytest.mark.parametrize(("patch", "size"), [(14, 448), (14, 224), (16, 512)])
def test_each_turn_and_the_whole_conversation_give_the_images_that_were_shown(
    case: Case, patch: int, size: int
) -> None:
    said = played(case, size)
    turns = [turn for turn in said if turn["role"] in ("user", "tool")]
    assert [len(shown_in(turn)) for turn in turns] == [2, 1, 1]
    for turn in turns:
        given, videos = vision.process_vision_info([turn], image_patch_size=patch)
        assert videos is None
        assert same(given, shown_in(turn))
    assert same(vision.process_vision_info(said, image_patch_size=patch)[0], shown_in(*said))


def test_only_a_side_that_is_no_multiple_is_resized(case: Case) -> None:
    """448 is 14 times 32, and three quarters of it are not."""
    said = played(case, 448)
    shown = shown_in(*said)
    given = vision.process_vision_info(said, image_patch_size=16)[0]
    assert [each.size for each in shown] == [(448, 448), (448, 336), (448, 448), (448, 336)]
    assert [each.size for each in given] == [(448, 448), (448, 320), (448, 448), (448, 320)]
    assert same(given[::2], shown[::2])
