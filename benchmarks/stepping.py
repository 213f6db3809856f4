"""`bench env`: what an environment's step costs beside the bare crop and resize that it does.

A policy's step is one call of `zoom` on an image of 2048 x 2048 pixels: reading the action,
checking it, resampling the original pixels, keeping the view, the observation's canvas. The rival
takes the same pixels and resamples them with Pillow to the view's size, by the same filter; it
reads nothing and returns no observation. Neither ever waits, so CPU time is what counts: another
process in between lengthens no step.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from medgym.env import MedEnv
from medgym.messages import render_call

from .comparison import Comparison, in_turns
from .pictures import noise_cases

BOX = (250, 250, 750, 750)
"""What is zoomed into, in thousandths: the middle quarter. At 2048 pixels it is 1024 x 1024, shrunk
by a factor that is no whole number, so that no shortcut serves."""

TURNS = 20
"""Steps of an episode, and as many bare ones in turn. Real episodes are shorter; their beginning
is not what is measured here."""

RIVAL = "Pillow: crop and resize of the same pixels"


def stepping(side: int = 2048, repetitions: int = 25) -> list[Comparison]:
    """Time a step on an image in colour, as views are, and on a grey one."""
    rows = []
    for name, colour in (("", True), ("_grey", False)):
        with TemporaryDirectory() as folder:
            sides = _Sides(Path(folder), side, colour=colour)
            what = f"zoom, {'colour' if colour else 'grey'}"
            ours, bare = in_turns(what, sides.step, sides.bare, repetitions)
        rows.append(Comparison(f"env.zoom_{side}{name}", ours, "ms", RIVAL, bare))
    return rows


class _Sides:
    def __init__(self, folder: Path, side: int, *, colour: bool) -> None:
        cases = noise_cases(folder, 1, side, colour=colour)
        self._env = MedEnv(cases, ["zoom"], max_turns=TURNS + 1)
        self._action = render_call("zoom", {"view": 0, "box": list(BOX)})
        self._env.reset()
        assert self._env.episode is not None
        workspace = self._env.episode.workspace
        self._pixels = workspace.studies[0].pixels
        self._size = (workspace.view_size, workspace.view_size)
        self._box_px = tuple(round(value * side / 1000) for value in BOX)

    def step(self) -> float:
        """Milliseconds of a step."""
        self._env.reset()
        start = time.thread_time()
        for _ in range(TURNS):
            observation, *_ = self._env.step(self._action)
        seconds = time.thread_time() - start
        assert observation["text"].startswith(f"View {TURNS}")
        return 1000 * seconds / TURNS

    def bare(self) -> float:
        """Milliseconds of the bare crop and resize."""
        x0, y0, x1, y1 = self._box_px
        shrinks = x1 - x0 >= self._size[0]
        resample = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
        start = time.thread_time()
        for _ in range(TURNS):
            part = np.ascontiguousarray(self._pixels[y0:y1, x0:x1])
            Image.fromarray(part).resize(self._size, resample)
        return 1000 * (time.thread_time() - start) / TURNS
