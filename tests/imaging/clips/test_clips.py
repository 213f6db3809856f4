"""Clips, encoded by PyAV, whose frames are known."""

import builtins
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

import medgym
from medgym.errors import UserError
from medgym.imaging.clips import frames as clip_frames
from medgym.imaging.study import ImageRef, need_of, open_image
from medgym.workspace import Workspace

SIZE = (48, 32)
COUNT = 24


def grey(number: int) -> int:
    return 20 + 9 * number


def write_clip(
    path: Path,
    frames: list[NDArray[np.uint8]] | None = None,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    times: list[int] | None = None,
    aspect: Fraction | None = None,
    **container: Any,
) -> Path:
    """By default each frame has a grey of its own."""
    if frames is None:
        frames = [np.full((SIZE[1], SIZE[0], 3), grey(each), np.uint8) for each in range(COUNT)]
    with av.open(str(path), "w", **container) as made:
        stream: Any = made.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.options = options or {}
        if times:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for number, each in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(each, format="rgb24")
            if times:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    return path


H264 = {"g": "8", "bf": "2", "qp": "1", "sc_threshold": "0"}
KINDS = {
    "a.mp4": {"options": H264},
    "a.mov": {"pixels": "yuv444p", "options": H264},
    "a.mkv": {"codec": "ffv1", "pixels": "bgr0"},
    "b.mkv": {"options": {"g": "12", "qp": "1", "x264-params": "open-gop=1:bframes=2"}},
    "a.avi": {"codec": "mpeg4", "options": {"bf": "2", "g": "8", "qscale": "1"}},
    "b.avi": {"codec": "mjpeg", "pixels": "yuvj420p", "options": {"qscale": "1"}},
    "a.webm": {"codec": "libvpx-vp9", "options": {"lossless": "1", "cpu-used": "8"}},
    "b.webm": {"codec": "libvpx", "options": {"lag-in-frames": "16", "auto-alt-ref": "1",
                                              "crf": "4", "b": "2M"}},
}  # fmt: skip


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", options=H264)


@pytest.mark.parametrize("name", KINDS)
def test_each_frame_is_the_one_that_was_encoded(tmp_path: Path, name: str) -> None:
    study = medgym.open_study(write_clip(tmp_path / name, **KINDS[name]))
    plane = study.planes["frame"]
    assert (plane.count, plane.size, plane.spacing_mm) == (COUNT, SIZE, None)
    for number in (13, 0, COUNT - 1, 12, 7, 8):
        values = study.values("frame", number, (4, 4, 20, 20))
        assert values.shape == (16, 16, 3)
        # Codecs that lose something lose less than half of the way to the next frame.
        assert np.abs(values - grey(number)).max() <= 4
    assert study.show("frame", 3).size == SIZE


def test_frames_at_uneven_times_are_counted_and_found(tmp_path: Path) -> None:
    times = [0, 10, 500, 510, 511, 2000, 2001, 2600, 9000, 9040]
    frames = [np.full((32, 48, 3), grey(each), np.uint8) for each in range(len(times))]
    path = write_clip(tmp_path / "a.mkv", frames, options={"g": "3", "qp": "1"}, times=times)
    study = medgym.open_study(path)
    assert study.planes["frame"].count == len(times)
    assert study.seconds("frame") == pytest.approx([time / 1000 for time in times])
    for number in range(len(times)):
        assert abs(study.values("frame", number).mean() - grey(number)) <= 3


def test_a_frame_is_decoded_from_the_key_frame_before(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = medgym.open_study(clip)
    assert study.planes["frame"].count == COUNT
    decoded: list[Any] = []
    original = clip_frames._decoded

    def noted(*given: Any) -> Any:
        for frame in original(*given):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(clip_frames, "_decoded", noted)
    study.values("frame", 17)
    assert len(decoded) == 2
    decoded.clear()
    study.values("frame", 15)
    assert len(decoded) == 8


def test_a_frame_that_seeking_does_not_find_is_decoded_from_the_start(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = medgym.open_study(clip)
    monkeypatch.setattr(clip_frames, "_sought", lambda *given: None)
    assert abs(study.values("frame", 17).mean() - grey(17)) <= 3


def test_a_clip_is_looked_at_once(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert medgym.open_study(clip).planes["frame"].count == COUNT
    monkeypatch.setattr(clip_frames.Clip, "look", None)
    ref = ImageRef(uri=f"file:{clip}", frame=3)
    assert abs(open_image(ref).pixels.mean() - grey(3)) <= 3
    assert need_of(ref) >= 80 * 48 * 32
    workspace = Workspace([open_image(ImageRef(uri=f"file:{clip}", plane="frame", index=4))])
    assert workspace.view(0).size == SIZE


def test_a_frame_that_does_not_exist_is_refused(clip: Path) -> None:
    with pytest.raises(UserError, match=re.escape(f"holds {COUNT} frame(s); fix: name one of")):
        open_image(ImageRef(uri=f"file:{clip}"))
    for index in (-1, COUNT):
        with pytest.raises(UserError, match=r"fix: name one of 0\.\.23"):
            medgym.open_study(clip).show("frame", index)


_WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}


@pytest.mark.parametrize("matrix", [1, 5, 9])
@pytest.mark.parametrize("scope", [1, 2])
def test_colours_are_those_of_the_matrix_and_the_range_that_the_file_names(
    tmp_path: Path, matrix: int, scope: int
) -> None:
    codes = [(60, 90, 200), (180, 128, 128), (120, 170, 100), (16, 128, 128), (235, 128, 128)]
    frames: list[Any] = []
    for code in codes:
        frame = av.VideoFrame(48, 32, "yuv444p")
        for plane, value in zip(frame.planes, code, strict=True):
            plane.update(np.full((plane.height, plane.line_size), value, np.uint8))
        frame.colorspace, frame.color_range = matrix, scope
        frames.append(frame)
    path = tmp_path / "a.mkv"
    _encode(path, frames, matrix, scope)
    study = medgym.open_study(path)
    red, blue = _WEIGHTS[matrix]
    for number, (y, u, v) in enumerate(codes):
        low, luma, chroma = (16, 219, 224) if scope == 1 else (0, 255, 255)
        brightness, b, r = (y - low) / luma, (u - 128) / chroma, (v - 128) / chroma
        r, b = brightness + 2 * (1 - red) * r, brightness + 2 * (1 - blue) * b
        g = (brightness - red * r - blue * b) / (1 - red - blue)
        expected = np.clip(np.array([r, g, b]) * 255, 0, 255)
        assert np.abs(study.values("frame", number)[5, 5] - expected).max() <= 1


def _encode(path: Path, frames: list[Any], matrix: int, scope: int) -> None:
    with av.open(str(path), "w") as made:
        stream: Any = made.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, frames[0].format.name
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = scope
        for frame in frames:
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))


def test_what_a_file_does_not_say_follows_its_size(tmp_path: Path) -> None:
    """BT.601 up to 576 rows, BT.709 above."""
    shown = []
    for rows in (576, 578):
        frame = av.VideoFrame(16, rows, "yuv444p")
        for plane, value in zip(frame.planes, (100, 128, 200), strict=True):
            plane.update(np.full((plane.height, plane.line_size), value, np.uint8))
        path = tmp_path / f"{rows}.mkv"
        with av.open(str(path), "w") as made:
            stream: Any = made.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 16, rows, "yuv444p"
            made.mux(stream.encode(frame))
            made.mux(stream.encode(None))
        shown.append(medgym.open_study(path).values("image", 0)[0, 0, 0])
    luma, chroma = (100 - 16) / 219, (200 - 128) / 224
    assert shown == pytest.approx(
        [255 * (luma + 2 * (1 - 0.299) * chroma), 255 * (luma + 2 * (1 - 0.2126) * chroma)], abs=1
    )


@pytest.mark.parametrize(("kind", "bits"), [("gray", 8), ("gray12le", 12), ("gray16le", 16)])
def test_grey_keeps_its_values(tmp_path: Path, kind: str, bits: int) -> None:
    values = (np.arange(32 * 48).reshape(32, 48) * 41 % (1 << bits)).astype("<u2")
    frame = av.VideoFrame(48, 32, kind)
    plane = frame.planes[0]
    rows = np.zeros((32, plane.line_size), np.uint8)
    stored = values.astype(np.uint8) if bits == 8 else values.view(np.uint8)
    rows[:, : stored.shape[1]] = stored
    plane.update(rows)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as made:
        stream: Any = made.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, kind
        made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    study = medgym.open_study(path)
    np.testing.assert_array_equal(study.values("image", 0), values)
    shown = np.asarray(study.show("image", 0))[..., 0]
    assert np.abs(shown - values / ((1 << bits) - 1) * 255).max() <= 1


def test_pixels_that_are_not_square_are_drawn_true(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", options=H264, aspect=Fraction(2, 1))
    study = medgym.open_study(path)
    assert study.values("frame", 0).shape == (32, 48, 3)
    assert study.show("frame", 0).size == (96, 32)


def test_a_clip_that_is_shown_turned_is_refused(clip: Path) -> None:
    data = clip.read_bytes()
    one = (1 << 16).to_bytes(4, "big")
    at = data.index(one + bytes(12) + one, data.index(b"tkhd"))
    turned = bytes(4) + one + bytes(4) + (0xFFFF0000).to_bytes(4, "big") + bytes(4)
    clip.write_bytes(data[:at] + turned + data[at + 20 :])
    with pytest.raises(UserError, match=r"turned by (90|270) degrees"):
        _ = medgym.open_study(clip).planes


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.webm"])
def test_half_a_clip_is_refused(tmp_path: Path, name: str) -> None:
    path = write_clip(tmp_path / name, **KINDS[name])
    whole = path.read_bytes()
    for share in (0.01, 0.3, 0.7, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(UserError) as refused:
            _ = medgym.open_study(path).planes
        assert "\n" not in str(refused.value)
        assert "; fix: " in str(refused.value)


def test_a_clip_cut_off_behind_its_header_is_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", options=H264, container_options={"movflags": "faststart"})
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    path.write_bytes(data[:-40])
    with pytest.raises(UserError, match="is cut off; fix: copy it again"):
        medgym.open_study(path)


def test_a_clip_without_a_key_frame_at_its_start_is_refused(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.mkv"
    with av.open(str(clip)) as source, av.open(str(path), "w") as made:
        pictures = source.streams.video[0]
        stream = made.add_stream_from_template(pictures)
        kept = [packet for packet in source.demux(pictures) if packet.size]
        for packet in kept[1:7]:
            packet.stream = stream
            made.mux(packet)
    with pytest.raises(UserError) as refused:
        _ = medgym.open_study(path).planes
    assert "; fix: " in str(refused.value)


def test_damaged_frames_are_refused_and_never_concealed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (8, 64, 96, 3), np.uint8)
    path = write_clip(tmp_path / "a.mp4", list(noise), options={"g": "4", "qp": "20"})
    data = bytearray(path.read_bytes())
    at = data.index(b"mdat") + len(data) // 2
    data[at : at + 200] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(UserError, match="fix: copy"):
        _ = medgym.open_study(path).planes


def test_a_clip_that_changes_while_it_is_read_is_refused(clip: Path) -> None:
    study = medgym.open_study(clip)
    assert study.planes
    write_clip(clip, options=H264 | {"g": "4"})
    with pytest.raises(UserError, match="changed while it was read"):
        study.values("frame", 0)


@pytest.mark.parametrize("head", [b"\x00\x00\x00\x18ftypmp42", b"\x1aE\xdf\xa3"])
def test_what_only_begins_as_a_clip_is_refused(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(head + bytes(range(200)))
    with pytest.raises(UserError) as refused:
        _ = medgym.open_study(path).planes
    assert "; fix: " in str(refused.value)


def test_a_clip_without_pictures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as made:
        stream = made.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        made.mux(stream.encode(sound))
        made.mux(stream.encode(None))
    with pytest.raises(UserError, match="holds 0 streams of pictures"):
        medgym.open_study(path)


def test_a_clip_of_too_many_frames_or_pixels_is_refused(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medgym.imaging.clips.frames.MOST_FRAMES", COUNT - 1)
    with pytest.raises(UserError, match="more than 23 frames; fix: cut it"):
        _ = medgym.open_study(clip).planes
    monkeypatch.setattr("medgym.imaging.limits.MAX_PIXELS", 48 * 32 - 1)
    with pytest.raises(UserError, match="more than 1,535 pixels"):
        medgym.open_study(clip)


def test_without_pyav_the_extra_is_named(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refused(name: str, *rest: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refused)
    with pytest.raises(UserError, match=re.escape("pip install 'medgym[clips]'")):
        medgym.open_study(clip)
