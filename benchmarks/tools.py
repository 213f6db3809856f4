"""`bench tools`: calls of a tool per second, beside the library that does the same by itself.

Each tool is called on one image of noise: by one thread (`single`), by several (`threaded`),
several calls at once (`batched`, of a tool with a model), and again and again with the same call
(`cached`, of a tool that takes long enough to be kept). The rival is the bare library on the same
pixels. It reads and checks no arguments, maps no boxes, and writes no text. Both draw what they
show.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from medgym.imaging.study import Study
from medgym.tool import Tool, load_tools
from medgym.tool_cache import ToolCache, key_of
from medgym.tool_call import limited, used_together
from medgym.workspace import Workspace

from .comparison import Comparison, in_turns

THREADS = 4
"""Calls at once where there are several."""

VIEW = 448
SPAN = 400
"""Sides of a view in pixels, and of a box in thousandths."""

Pixels = Any
Do = Callable[[int], object]


@dataclass(frozen=True)
class _Contest:
    """A tool against a library.

    Attributes:
        arguments: of the call of this number. rival: what it is. direct: does the same by itself.
        batch: does so many calls at once, where the rival can.
    """

    spec: str
    arguments: Callable[[int], Mapping[str, Any]]
    rival: str
    direct: Do
    batch: Callable[[Sequence[int]], object] | None = None


def tools(side: int = 1024, seconds: float = 0.2, repetitions: int = 3) -> list[Comparison]:
    """Time the tools that have a rival, each for `seconds` at a time."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)
    study = Study(noise)
    rows: list[Comparison] = []
    with TemporaryDirectory() as folder:
        for contest in _contests(study, Path(folder)):
            (tool,) = load_tools([contest.spec])
            rows += _measured(tool, contest, study, seconds, repetitions)
    return rows


def _measured(
    tool: Tool, contest: _Contest, study: Study, seconds: float, repetitions: int
) -> Iterator[Comparison]:
    workspace, cache = Workspace([study], view_size=VIEW), ToolCache()

    def call(number: int) -> None:
        result = limited(tool, tool.parse(contest.arguments(number)), workspace)
        for view in result.views:
            view.picture.load()

    def again(_: int) -> None:
        args = tool.parse(contest.arguments(0))
        key = key_of(tool, args, workspace, None)
        for view in cache.result(key, lambda: limited(tool, args, workspace)).views:
            view.picture.load()

    def together(number: int) -> None:
        calls = [(tool.parse(contest.arguments(number + n)), workspace) for n in range(THREADS)]
        for result in used_together(tool, calls):
            assert not isinstance(result, Exception), result

    def direct_together(number: int) -> None:
        assert contest.batch is not None
        contest.batch(range(number, number + THREADS))

    ways: dict[str, tuple[Do, Do, int, int]] = {
        "single": (call, contest.direct, 1, 1),
        "threaded": (call, contest.direct, THREADS, 1),
    }
    if contest.batch is not None:
        ways["batched"] = (together, direct_together, 1, THREADS)
    if tool.caches:
        ways["cached"] = (again, contest.direct, 1, 1)
    for do in (call, contest.direct):  # loads what the first call loads
        do(0)
    for way, (ours, rivals, threads, at_once) in ways.items():
        one, other = in_turns(
            f"{tool.name}, {way}",
            partial(_calls, ours, threads, seconds, at_once),
            partial(_calls, rivals, threads, seconds, at_once),
            repetitions,
        )
        yield Comparison(f"tools.{tool.name}.{way}", one, "calls/s", contest.rival, other)


def _calls(do: Do, threads: int, seconds: float, at_once: int) -> float:
    """Calls a second, where each time so many are done, by so many threads."""
    start = time.perf_counter()

    def work(thread: int) -> int:
        done = 0
        while done == 0 or time.perf_counter() - start < seconds:
            do(thread + threads * done)
            done += 1
        return done

    if threads == 1:
        count = work(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            count = sum(pool.map(work, range(threads)))
    return at_once * count / (time.perf_counter() - start)


def _box(number: int) -> list[int]:
    """A box in thousandths; neighbours in time are not the same one."""
    x, y = 7 * number % (1000 - SPAN), 13 * number % (1000 - SPAN)
    return [x, y, x + SPAN, y + SPAN]


def _contests(study: Study, folder: Path) -> Iterator[_Contest]:
    pixels = study.pixels

    def part(number: int) -> Pixels:
        x0, y0, x1, y1 = (round(value * len(pixels) / 1000) for value in _box(number))
        return np.ascontiguousarray(pixels[y0:y1, x0:x1])

    def boxed(number: int, **more: Any) -> dict[str, Any]:
        return {"view": 0, "box": _box(number), **more}

    def shown(made: Pixels) -> Image.Image:
        shrinks = len(made) >= VIEW
        resample = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
        return Image.fromarray(made).resize((VIEW, VIEW), resample).convert("RGB")

    yield _Contest("zoom", boxed, "Pillow: crop and resize", lambda n: shown(part(n)))
    yield _Contest("crop", boxed, "Pillow: crop", lambda n: Image.fromarray(part(n)).convert("RGB"))
    yield _Contest(
        "enhance",
        lambda n: boxed(n, how="clahe"),
        "scikit-image: equalize_adapthist of the view",
        lambda n: _equalised(shown(part(n))),
    )
    yield _Contest(
        "measure",
        lambda n: boxed(n, kind="intensity"),
        "numpy: mean, std, min and max",
        lambda n: [getattr(part(n), name)() for name in ("mean", "std", "min", "max")],
    )
    yield _Contest("segment", boxed, "scikit-image: gaussian, multi-Otsu, label", _cut(part))
    if find_spec("bm25s") is not None:
        yield _retrieval(folder)
    if find_spec("transformers") is not None and find_spec("torch") is not None:
        yield _detection(folder, boxed, lambda n: shown(part(n)))


def _equalised(view: Image.Image) -> Image.Image:
    from skimage.exposure import equalize_adapthist

    made = equalize_adapthist(np.asarray(view.convert("L")))
    return Image.fromarray((made * 255).astype(np.uint8)).convert("RGB")


def _cut(part: Callable[[int], Pixels]) -> Do:
    def direct(number: int) -> object:
        from skimage.filters import gaussian, threshold_multiotsu
        from skimage.measure import label, regionprops

        smooth = gaussian(part(number)[::2, ::2], 2.0, preserve_range=True)
        pieces = label(smooth > threshold_multiotsu(smooth, 3, nbins=64)[-1])
        return [(piece.area, piece.bbox) for piece in regionprops(pieces)]

    return direct


def _retrieval(folder: Path) -> _Contest:
    import bm25s

    words = ("striated", "banded", "granular", "oblique", "lesion", "pattern", "stage", "margin")
    texts = [" ".join(words[place * n % 8] for place in range(12)) for n in range(1, 201)]
    passages = folder / "passages.jsonl"
    lines = (json.dumps({"id": str(place), "text": text}) for place, text in enumerate(texts))
    passages.write_text("\n".join(lines) + "\n", encoding="utf-8")
    scorer = bm25s.BM25()
    scorer.index([text.split() for text in texts], show_progress=False)

    def query(number: int) -> str:
        return f"{words[number % 8]} {words[number // 3 % 8]} lesion"

    def direct(number: int) -> object:
        known = [word for word in query(number).split() if word in scorer.vocab_dict]
        return np.argsort(-scorer.get_scores(known), kind="stable")[:3]

    return _Contest(
        f'retrieve?passages="{passages}"',
        lambda n: {"query": query(n)},
        "bm25s: scores of 200 texts, sorted",
        direct,
    )


def _detection(
    folder: Path, boxed: Callable[[int], dict[str, Any]], shown: Callable[[int], Image.Image]
) -> _Contest:
    """A detector with random weights, in a folder as `save_pretrained` writes it."""
    import torch
    import transformers as tf

    torch.manual_seed(0)
    side = {"height": 64, "width": 64}
    config = tf.YolosConfig(
        image_size=[64, 64], patch_size=16, num_detection_tokens=5, hidden_size=32,
        id2label={0: "nodule"}, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
    )  # fmt: skip
    folder = folder / "detector"
    tf.YolosForObjectDetection(config).save_pretrained(folder)
    tf.YolosImageProcessor(size=side, do_pad=False).save_pretrained(folder)
    pipeline: Any = tf.pipeline("object-detection", model=str(folder), device="cpu")

    def batch(numbers: Sequence[int]) -> object:
        return pipeline([shown(n) for n in numbers], batch_size=len(numbers), threshold=0.5)

    return _Contest(
        f'detect?model="{folder}"&device=cpu',
        boxed,
        "transformers: pipeline of the same model",
        lambda n: pipeline(shown(n), threshold=0.5),
        batch,
    )
