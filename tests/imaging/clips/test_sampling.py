"""A clip stands for itself by the frames that qwen-vl-utils takes of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from medgym.cases import Case
from medgym.errors import UserError
from medgym.imaging.clips.sampling import clip_frames, sampled_frames
from medgym.imaging.opened import opened_image
from medgym.imaging.study import ImageRef, open_image
from medgym.uris import file_uri
from medgym.workspace import Workspace
from tests.imaging.clips.test_clips import COUNT, grey, write_clip

torch = pytest.importorskip("torch")
vision = pytest.importorskip("qwen_vl_utils.vision_process")


@given(
    count=st.integers(2, 5000),
    rate=st.floats(1, 120),
    asked=st.sampled_from(["nothing", "fps", "frames"]),
    number=st.integers(1, 300),
    most=st.integers(4, 768),
)
@example(count=3, rate=25.0, asked="nothing", number=1, most=768)
@example(count=100_000, rate=25.0, asked="nothing", number=1, most=768)
def test_the_frames_are_those_of_qwen_vl_utils(
    count: int, rate: float, asked: str, number: int, most: int
) -> None:
    theirs: dict[str, Any] = {}
    ours: dict[str, Any] = {}
    if asked == "frames":
        theirs, ours = {"nframes": number}, {"frames": number}
    elif asked == "fps":
        theirs, ours = {"fps": number / 50, "max_frames": most}, {"fps": number / 50, "most": most}
    try:
        wanted = vision.smart_nframes(theirs, total_frames=count, video_fps=rate)
    except ValueError:
        with pytest.raises(UserError, match="are no choice; fix: ask for 2 to"):
            sampled_frames(count, rate, **ours)
        return
    places = torch.linspace(0, count - 1, wanted).round().long().tolist()
    assert sampled_frames(count, rate, **ours) == places


def test_the_frames_of_a_clip_are_images_of_a_case(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a b.mkv", codec="ffv1", pixels="bgr0")
    refs = clip_frames(path, frames=4)
    numbers = [ref.index for ref in refs]
    assert refs[0] == ImageRef(uri=file_uri(path), plane="frame", index=0)
    assert numbers == sampled_frames(COUNT, 25.0, frames=4)
    for ref, number in zip(refs, numbers, strict=True):
        assert number is not None
        assert np.all(open_image(ref).pixels == grey(number))
    case = Case(
        id="a/test/0", images=refs, question="?", answer="x", group="g", source="a", split="test"
    )
    assert len(clip_frames(path)) == len(clip_frames(path, fps=2)) == 4  # under a second, the least
    assert len(clip_frames(path, fps=10)) == 8  # 24 frames at 25 a second
    shown = Workspace([opened_image(ref) for ref in case.images]).views
    assert [view.index for view in shown] == numbers


def test_what_is_no_clip_has_no_frames(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UserError, match="is no clip; fix: name an MP4"):
        clip_frames(tmp_path / "a.png")
    with pytest.raises(UserError, match="no such"):
        clip_frames(tmp_path / "b.mp4")
