"""Nothing that a policy or a tool is handed leads to gold; proven on leaks that are planted.

Three detectors, over everything that an episode hands out (conversations, workspaces, arguments,
results, observations, infos):

- *the walk* follows every reference, attributes, closures, bound objects, frames and weak
  references included, and finds gold by its type (a `Case`, a `Region`), its words and
  its numbers;
- *the files* are what these objects become: pickles, JSON, chat content, PNG files chunk by chunk;
- *the double* plays a case that differs in gold alone: everything handed out must be equal to the
  last bit, so that no encoding of gold, however sly, gets through.
"""

import asyncio
import functools
import gc
import json
import pickle
import types
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import medgym
from medgym.cases import Case, Mask, Region, open_cases
from medgym.env import MedEnv
from medgym.episode import Episode, Rules
from medgym.errors import ToolError
from medgym.gold_tool import Gold
from medgym.imaging.study import ImageRef
from medgym.messages import ImagePart, Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling
from medgym.rollout import roll_out
from medgym.storage.trajectories import ImageStore
from medgym.tool import Tool, ToolArgs, ToolResult, ViewNumber, load_tools
from medgym.workspace import View, Workspace
from tests.tool_names import BARE

GOLD_TYPES = (Case, Region, Episode)
"""Types of which no object may be reached: they hold gold or lead to it."""

SMALL = 64
"""Items of a collection in which gold numbers are looked for; larger ones are pixels and runs."""

Roots = dict[str, Any]
Plant = Callable[[Episode, Case], None]


# --- what is handed out ---------------------------------------------------------------------------


def actions() -> list[str]:
    """Replies that use every tool that ships, err in every way, and answer."""
    box = [111, 222, 555, 777]
    calls = [
        render_call(name, {"view": 0, "box": box} if name != "retrieve" else {"query": "lesion"})
        for name in BARE
    ]
    return [
        *calls,
        render_call("segment", {"view": 0, "point": [500, 500]}),
        render_call("zoom", {"view": 1, "box": [0, 0, 1001, 5]}),
        render_call("oracle", {}),
        render_call("told", {"view": 0}),
        "what?",
        render_answer("A sealed guess"),
    ]


class Spy(Policy):
    """Plays `actions()` and keeps all that it was handed."""

    spec = "spy"

    def __init__(self) -> None:
        self.handed: list[Any] = []

    async def act(self, conversation: Any, sampling: Sampling) -> Reply:
        self.handed.append((conversation, sampling))
        turn = sum(message.role == "assistant" for message in conversation)
        return Reply(actions()[turn])


def tapped(tool: Tool, handed: list[Any]) -> Tool:
    """The same tool; what it is handed and what it returns is kept."""

    def call(self: Tool, args: Any, workspace: Workspace) -> ToolResult:
        handed.append((args, workspace))
        result = type(tool).__call__(tool, args, workspace)
        handed.append(result)
        return result

    tap: Tool = type("Tap", (type(tool),), {"__call__": call, "__doc__": type(tool).__doc__})()
    return tap


class Told(Tool):
    """Say whether a label may be told."""

    name = "told"
    needs_gold = True

    class Args(ToolArgs):
        """Of which view."""

        view: ViewNumber

    def __init__(self, handed: list[Any]) -> None:
        self._handed = handed

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        raise AssertionError("called without gold")

    def with_gold(self, args: Any, workspace: Workspace, gold: Gold) -> ToolResult:
        assert isinstance(gold, Gold)
        self._handed.append((args, workspace))
        told = ToolResult("told" if gold.tells("label") else "not told here")
        self._handed.append(told)
        return told


@dataclass(frozen=True)
class Played:
    """What was handed out while a case was played, by whom; the episodes are still alive."""

    roots: Roots
    episodes: list[Episode]


def played(case: Case, plant: Plant | None = None) -> Played:
    """Play `actions()` on a case by rollout and by MedEnv, and keep what is handed out."""
    episodes: list[Episode] = []
    begin = Rules.begin

    def planted(rules: Rules, case: Case, studies: Any = None) -> Episode:
        episodes.append(begin(rules, case, studies))
        if plant is not None:
            plant(episodes[-1], case)
        return episodes[-1]

    to_tools: list[Any] = []
    tools = tuple(tapped(medgym.load("tools", name)(), to_tools) for name in BARE)
    tools = (*tools, Told(to_tools))
    spy, size = Spy(), 64 if case.source == "phantom" else 32
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Rules, "begin", planted)
        asyncio.run(roll_out(case, spy, Rules(tools=tools, max_turns=99, view_size=size)))
        env = MedEnv([case], tools, max_turns=99, view_size=size, render_mode="ansi")
        observation, info = env.reset(seed=0)
        info.pop("case")  # the case's id, for whoever keeps records; the episode says it nowhere
        steps: list[Any] = [(observation, info), env.render()]
        for action in actions():
            observation, _, terminated, _, info = env.step(action)
            # At the end the score tells how good the answer was; there is nothing left to play.
            steps.append((observation, {} if terminated else info, env.render()))
    return Played({"policy": spy.handed, "tools": to_tools, "env": steps}, episodes)


# --- the walk -------------------------------------------------------------------------------------

ATOMS = (str, bytes, bytearray, int, float, complex, bool, type(None), range, slice)
OUTER = (type, types.ModuleType, types.BuiltinFunctionType, types.CodeType)
"""What belongs to the program and not to an episode."""


def children(thing: Any) -> Iterator[tuple[str, Any]]:
    """All that a thing refers to, each with how."""
    if isinstance(thing, (*ATOMS, *OUTER)):
        return
    if isinstance(thing, Mapping):
        for key, value in thing.items():
            yield "key", key
            yield f"[{key!r}]", value
    elif isinstance(thing, list | tuple):
        yield from ((f"[{i}]", each) for i, each in enumerate(thing))
    elif isinstance(thing, set | frozenset):
        yield from (("{}", each) for each in sorted(thing, key=repr))
    elif isinstance(thing, np.ndarray):
        yield "base", thing.base
        if thing.dtype == object:
            yield from (("item", each) for each in thing.ravel())
    elif isinstance(thing, weakref.ref):
        yield "()", thing()
    elif isinstance(thing, types.FunctionType):
        # Not __globals__: they are the module's, as its classes are.
        yield "closure", [c.cell_contents for c in thing.__closure__ or ()]
        yield "defaults", (thing.__defaults__, thing.__kwdefaults__)
    elif isinstance(thing, types.MethodType | functools.partial):
        yield "bound", getattr(thing, "__self__", None)
        yield (
            "function",
            getattr(thing, "__func__", None) or (thing.func, thing.args, thing.keywords),
        )
    elif isinstance(thing, types.CoroutineType):
        yield "frame", dict(thing.cr_frame.f_locals) if thing.cr_frame else None
    elif isinstance(thing, types.GeneratorType):
        yield "frame", dict(thing.gi_frame.f_locals) if thing.gi_frame else None
    if not isinstance(thing, dict | list | tuple | set | frozenset | types.FunctionType):
        for name, value in sorted(getattr(thing, "__dict__", {}).items()):
            yield f".{name}", value
        for kind in type(thing).__mro__:
            for name in getattr(kind, "__slots__", ()):
                if isinstance(name, str) and hasattr(thing, name):
                    yield f".{name}", getattr(thing, name)
        # Whatever else the collector knows: C objects, odd containers, properties of extensions.
        for each in gc.get_referents(thing):
            if not isinstance(each, dict) or each is not getattr(thing, "__dict__", None):
                yield "~", each


def walk(root: Any) -> Iterator[tuple[str, Any]]:
    """Everything reachable from a root, once, with a path to it."""
    seen: dict[int, Any] = {}  # holds what it has seen, so that no address is used twice
    waiting = [("", root)]
    while waiting:
        path, thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, OUTER):
            continue
        seen[id(thing)] = thing
        yield path, thing
        waiting += [(path + how, each) for how, each in children(thing)]


def words_of(case: Case) -> list[str]:
    """The words of gold that the policy is not shown anyway, as the options are."""
    shown = " ".join((case.question, case.context, *case.options)).casefold()
    gold = [case.answer, *(region.label for region in case.regions)]
    return [word.casefold() for word in gold if word.casefold() not in shown]


def numbers_of(case: Case) -> list[set[float]]:
    """The numbers of each gold box, in original pixels and in thousandths; and of each mask."""
    found: list[set[float]] = []
    for region in case.regions:
        found.append(set(region.box_px))
        width, height = SIZES[case.source]
        found.append({v * 1000 / (height if i % 2 else width) for i, v in enumerate(region.box_px)})
    return [numbers for numbers in found if len(numbers) == 4]


SIZES = {"ward": (96, 96), "phantom": (256, 256)}


def gold_in(thing: Any, case: Case) -> str | None:
    """Why a thing is gold, None where it is not."""
    if isinstance(thing, GOLD_TYPES):
        return f"a {type(thing).__name__}"
    if isinstance(thing, Mask) and any(thing == region.mask for region in case.regions):
        return "a gold mask"
    if isinstance(thing, str | bytes):
        text = thing if isinstance(thing, str) else text_of(thing)
        for word in words_of(case):
            if word in text.casefold():
                return f"the gold word {word!r}"
    if isinstance(thing, np.ndarray):
        direct = thing.ravel().tolist() if thing.size <= SMALL and thing.dtype != object else []
    else:
        direct = [each for _, each in children(thing)]
    if 4 <= len(direct) <= SMALL:
        numbers = {float(v) for v in direct if isinstance(v, int | float) and abs(v) < 1e9}
        if any(gold <= numbers for gold in numbers_of(case)):
            return "the numbers of a gold box"
    masks = [region.mask.counts for region in case.regions if region.mask]
    if isinstance(thing, list | tuple) and tuple(thing) in masks:
        return "the runs of a gold mask"
    return None


def text_of(data: bytes) -> str:
    """Bytes as text, in the encodings that words hide in."""
    return data.decode("utf-8", "ignore") + data.decode("utf-16-le", "ignore")


def walked(roots: Roots, case: Case) -> list[str]:
    return [
        f"walk: {name}{path}: {why}"
        for name, root in roots.items()
        for path, thing in walk(root)
        if (why := gold_in(thing, case))
    ]


# --- the files ------------------------------------------------------------------------------------


def filed(roots: Roots, case: Case, folder: Path) -> list[str]:
    """Gold in what the handed objects become on disk or on a wire."""
    found = []
    for name, root in roots.items():
        for path, thing in walk(root):
            for form, data in forms(thing, folder):
                for word in words_of(case):
                    if word in text_of(data).casefold():
                        found.append(f"files: {name}{path} as {form}: the gold word {word!r}")
    return found


def forms(thing: Any, folder: Path) -> Iterator[tuple[str, bytes]]:
    if isinstance(thing, View | Message | ToolResult | Workspace):
        yield "pickle", pickle.dumps(thing)
    if isinstance(thing, Message):
        yield (
            "chat",
            json.dumps(thing.chat(), default=lambda odd: str(getattr(odd, "info", odd))).encode(),
        )
    if isinstance(thing, ImagePart):
        ImageStore(folder).put(thing)
        (file,) = folder.rglob(f"{thing.sha256}.png")
        for kind, data in chunks(file.read_bytes()):
            assert kind in ("IHDR", "PLTE", "IDAT", "IEND", "iCCP", "tEXt", "zTXt", "iTXt", "eXIf")
            yield f"PNG chunk {kind}", data
            yield f"PNG chunk {kind}", inflated(data)
        file.unlink()


def chunks(png: bytes) -> Iterator[tuple[str, bytes]]:
    """The chunks of a PNG file."""
    at = 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        yield png[at + 4 : at + 8].decode(), png[at + 8 : at + 8 + length]
        at += length + 12


def inflated(data: bytes) -> bytes:
    """What lies compressed behind the keyword of a text or profile chunk, if anything."""
    for start in range(min(len(data), 90)):
        try:
            return zlib.decompress(data[start:])
        except zlib.error:
            continue
    return b""


# --- the double -----------------------------------------------------------------------------------


def double(case: Case) -> Case:
    """The same case with other gold."""
    other = next((o for o in case.options if o != case.answer), "quite another answer")
    regions = tuple(
        region.model_copy(
            update={
                "label": "another label",
                "box_px": (1.0, 2.0, 3.0, 4.0),
                "mask": region.mask and Mask.of(~region.mask.array()),
            }
        )
        for region in case.regions
    )
    changes = {"answer": other, "accepted": (case.answer,), "regions": regions}
    return case.model_copy(update=changes)


def atoms(root: Any) -> list[tuple[str, str]]:
    """All values reachable, with their paths: equal for equal handed-out things."""
    found = []
    for path, thing in walk(root):
        if isinstance(thing, np.ndarray):
            found.append((path, f"{thing.dtype}{thing.shape}{hash(thing.tobytes())}"))
        elif isinstance(thing, Image.Image):
            found.append((path, f"{thing.mode}{thing.size}{hash(thing.tobytes())}"))
        elif isinstance(thing, ATOMS):
            found.append((path, repr(thing)))
        else:
            found.append((path, type(thing).__name__))
    return sorted(found)


def differing(roots: Roots, others: Roots) -> list[str]:
    found = []
    for name in roots:
        here, there = atoms(roots[name]), atoms(others[name])
        if here != there:
            path, value = next(iter(set(here) ^ set(there)), ("", "its shape"))
            found.append(f"double: {name}{path}: {value[:60]} depends on gold")
    return found


# --- the test -------------------------------------------------------------------------------------


def faults(case: Case, folder: Path, plant: Plant | None = None) -> list[str]:
    """What all three detectors find."""
    one, other = played(case, plant), played(double(case), plant)
    # The files come last: Pillow notes on an image how it was saved.
    return [
        *walked(one.roots, case),
        *differing(one.roots, other.roots),
        *filed(one.roots, case, folder),
    ]


SECRET = "sarcoidosis"
LABEL = "nodule zeta"
BOX_PX = (13.0, 27.0, 41.0, 59.0)


def ward(folder: Path) -> Case:
    """An open question about a picture whose file tells the answer in every way that files can,
    and whose names tell it too."""
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    told = PngInfo()
    told.add_text("Diagnosis", SECRET)
    told.add_itxt("Finding", LABEL, zip=True)
    exif = Image.Exif()
    exif[0x010E] = SECRET  # ImageDescription
    file = folder / LABEL / f"{SECRET}_12.png"
    file.parent.mkdir()
    Image.fromarray(pixels).save(file, pnginfo=told, exif=exif, icc_profile=SECRET.encode())
    mask = np.zeros((96, 96), bool)
    mask[27:59, 13:41] = True
    return Case(
        id=f"ward/train/{SECRET}-12",
        images=(ImageRef(uri=f"file:{file}"),),
        question="What is it?",
        answer=SECRET,
        regions=(Region(label=LABEL, box_px=BOX_PX, mask=Mask.of(mask)),),
        group=f"{LABEL} {SECRET}-12",
        source="ward",
        split="train",
    )


def dicom(folder: Path) -> Case:
    """The same question about a DICOM file that tells the answer in its header."""
    import pydicom
    from pydicom.data import get_testdata_file

    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    dataset.PatientComments = SECRET
    dataset.SeriesDescription = LABEL
    case = ward(folder)
    file = folder / LABEL / f"{SECRET}.dcm"
    dataset.save_as(file)
    return case.model_copy(update={"images": (ImageRef(uri=f"file:{file}"),)})


@pytest.mark.parametrize("make", [ward, dicom], ids=["png", "dicom"])
def test_a_file_that_tells_the_answer_tells_it_to_nobody(
    make: Callable[[Path], Case], tmp_path: Path
) -> None:
    case = make(tmp_path)
    assert words_of(case) == [SECRET, LABEL]
    assert faults(case, tmp_path / "images") == []


@pytest.mark.parametrize("question", ["kind", "side", "presence", "size"])
def test_a_phantom_hands_out_no_gold(question: str, tmp_path: Path) -> None:
    for case in open_cases(f"phantom,size=256,question={question}:train[:2]"):
        assert faults(case, tmp_path) == []


@pytest.mark.parametrize("question", ["kind", "side", "presence"])
def test_oracles_hold_no_gold_and_do_not_say_what_is_asked(question: str) -> None:
    tools = ("segment?backend=oracle", "detect?backend=oracle", "classify?backend=oracle")
    rules = Rules.for_cases(f"phantom,question={question}:train", tools=tools, view_size=64)
    calls = [render_call(tool.name, {"view": 0, "box": [0, 0, 1000, 1000]}) for tool in rules.tools]
    said = set()
    for case in open_cases(f"phantom,size=256,question={question}:train[:4]"):
        episode = rules.begin(case)
        assert episode.step("".join(calls)) is not None
        for path, thing in walk([episode.messages, episode.workspace, rules.tools]):
            assert not isinstance(thing, (*GOLD_TYPES, Gold)), path
        text = episode.messages[-1].text
        assert not any(word in text.casefold() for word in words_of(case))
        said.add(text)
    # Where the place or the presence is asked, the text is the same whatever the answer is.
    assert question == "kind" or len(said) == 1


def differing_as_asked(case: Case, question: str) -> Case:
    """The same case with other findings, which differ in what the question asks alone."""
    (region,) = case.regions
    x0, y0, x1, y1 = region.box_px
    if question in ("size", "length", "hounsfield"):  # about one middle, on both sides in depth
        deep = 0 if region.index is None else 2
        box_px = (x0 - 5, y0 - 9, x1 + 5, y1 + 9)
        changed: dict[str, Any] = {"box_px": box_px, "mask": None, "count": region.count + deep}
        changed |= {"index": region.index - 1} if region.index is not None else {}
    elif question == "kind":
        changed = {"label": "another label"}
    else:
        changed = {"box_px": (1.0, 2.0, 3.0, 4.0), "mask": None}
    other = () if question == "presence" else (region.model_copy(update=changed),)
    return case.model_copy(update={"regions": other})


def probed(case: Case, tools: tuple[Tool, ...], gold_of: Case) -> list[Any]:
    """What oracles answer to many calls on a case, as if its gold were that of another; the noise,
    which tells cases apart, is the same."""
    gold = replace(Gold.of(gold_of), seed=7)
    room = Rules(tools=tools, view_size=64).begin(case).workspace
    if room.images[0].has_many:
        (region,) = case.regions
        for index in range((region.index or 0) - 1, (region.index or 0) + region.count + 1):
            room.show(0, (0, 0, *room.images[0].planes["axial"].size), plane="axial", index=index)
    ends = range(250, 1000, 250)
    boxes = [
        [0, 0, 1000, 1000],
        *([0, 0, x, 1000] for x in ends),
        *([0, y, 1000, 1000] for y in ends),
    ]
    said: list[Any] = []
    for tool in tools:
        calls: list[dict[str, Any]] = [{"box": box} for box in boxes]
        if tool.name == "segment":
            calls += [{"point": [x, y]} for x in ends for y in ends]
            calls += [{"text": "another label"}, {"box": boxes[0], "through": True}]
        for view in range(len(room.views)):
            for call in calls:
                try:
                    result = tool.with_gold(tool.parse({"view": view, **call}), room, gold)
                except ToolError as error:
                    said.append(str(error))
                    continue
                pictures = [each.picture.tobytes() for each in result.views]
                said.append((tool.spec, call, result.text, result.data, pictures))
    return said


ORACLES = (
    ("segment?backend=oracle", "detect?backend=oracle", "classify?backend=oracle",
     "report?experts=classify?backend=noised|detect?backend=noised|segment?backend=oracle"),
    ("segment?backend=noised", "detect?backend=noised", "classify?backend=noised"),
)  # fmt: skip


@pytest.mark.parametrize("question", ["kind", "side", "presence", "size", "length", "hounsfield"])
def test_no_answer_of_an_oracle_depends_on_what_is_asked(
    question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = "look=ct-volume" if question == "hounsfield" else "look=ct,size=256"
    cases = open_cases(f"phantom,{look},question={question}:train[:4]")
    case = next(case for case in cases if case.regions)
    other = differing_as_asked(case, question)
    assert other.regions != case.regions
    for specs in ORACLES:
        tools = load_tools(specs)
        assert probed(case, tools, case) == probed(case, tools, other)
    # With all gold told, the same probes do tell the two apart.
    monkeypatch.setattr(Gold, "of", lambda case: Gold(case.regions))
    assert probed(case, tools, case) != probed(case, tools, other)


# --- planted leaks --------------------------------------------------------------------------------


def first_view(episode: Episode) -> View:
    return episode.workspace.view(0)


def kept(episode: Episode) -> Image.Image:
    """The first view's pixels, drawn once for all, so that what is done to them stays."""
    picture = first_view(episode).shown.image
    first_view(episode).shown._draw = lambda: picture
    return picture


def answer_on_a_view(episode: Episode, case: Case) -> None:
    object.__setattr__(first_view(episode), "note", case.answer)


def box_on_a_view(episode: Episode, case: Case) -> None:
    for name, value in zip(
        ("left", "top", "right", "bottom"), case.regions[-1].box_px, strict=True
    ):
        object.__setattr__(first_view(episode), name, int(value))


def region_in_the_workspace(episode: Episode, case: Case) -> None:
    episode.workspace.target = case.regions  # type: ignore[attr-defined]


def answer_in_image_metadata(episode: Episode, case: Case) -> None:
    picture = kept(episode)
    picture.info["comment"] = case.answer


def answer_in_a_colour_profile(episode: Episode, case: Case) -> None:
    picture = kept(episode)
    picture.info["icc_profile"] = case.answer.encode()


def answer_in_a_message(episode: Episode, case: Case) -> None:
    system = episode.messages[0]
    episode.messages[0] = Message(
        "system", (*system.content, *system.content[:0]), Reply(case.answer)
    )


def names_in_the_workspace(episode: Episode, case: Case) -> None:
    episode.workspace.uris = [ref.uri for ref in case.images]  # type: ignore[attr-defined]


def back_reference(episode: Episode, case: Case) -> None:
    episode.workspace.episode = episode  # type: ignore[attr-defined]


def closure(episode: Episode, case: Case) -> None:
    episode.workspace.hint = lambda: case.answer  # type: ignore[attr-defined]


def bound_method(episode: Episode, case: Case) -> None:
    episode.workspace.score = case.model_dump  # type: ignore[attr-defined]


def partial(episode: Episode, case: Case) -> None:
    episode.workspace.score = functools.partial(print, case)  # type: ignore[attr-defined]


def generator(episode: Episode, case: Case) -> None:
    episode.workspace.hints = (letter for letter in case.answer)  # type: ignore[attr-defined]


def weak_reference(episode: Episode, case: Case) -> None:
    episode.workspace.owner = weakref.ref(episode)  # type: ignore[attr-defined]


def mask_in_an_array(episode: Episode, case: Case) -> None:
    (study,) = episode.workspace.studies
    stack = np.stack([study.pixels[..., 0], case.regions[-1].mask.array()])  # type: ignore[union-attr]
    object.__setattr__(study, "pixels", stack[0])  # its base holds the mask


def index_of_the_answer(episode: Episode, case: Case) -> None:
    object.__setattr__(first_view(episode), "shard", len(case.answer))


def answer_in_the_pixels(episode: Episode, case: Case) -> None:
    kept(episode).putpixel((0, 0), (len(case.answer), 0, 0))


def answer_in_the_spacing(episode: Episode, case: Case) -> None:
    object.__setattr__(episode.workspace, "view_multiple", 1 + len(case.answer) % 2)


def tool_that_knows(episode: Episode, case: Case) -> None:
    """As a tool would that was built with the case: gold in the result's data."""
    for name, tool in list(episode._tools.items()):
        if not tool.needs_gold:
            episode._tools[name] = Knowing(tool, case)


class Knowing(Tool):
    """Passes everything through and adds gold to `data`."""

    def __init__(self, tool: Tool, case: Case) -> None:
        self._tool, self._answer = tool, case.answer
        self.name = tool.name  # type: ignore[misc]
        self.parse = tool.parse  # type: ignore[method-assign]

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        result = self._tool(args, workspace)
        result.data["label"] = self._answer  # type: ignore[index]
        return result


PLANTS: dict[Plant, str] = {
    answer_on_a_view: "walk",
    box_on_a_view: "walk",
    region_in_the_workspace: "walk",
    answer_in_image_metadata: "walk",
    answer_in_a_colour_profile: "files",
    answer_in_a_message: "walk",
    names_in_the_workspace: "walk",
    back_reference: "walk",
    closure: "walk",
    bound_method: "walk",
    partial: "walk",
    generator: "walk",
    weak_reference: "walk",
    mask_in_an_array: "double",
    index_of_the_answer: "double",
    answer_in_the_pixels: "double",
    answer_in_the_spacing: "double",
    tool_that_knows: "walk",
}
"""Planted leaks, and a detector that must notice each."""


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_leak_is_found(plant: Plant, tmp_path: Path) -> None:
    case = ward(tmp_path)
    one = played(case, plant)
    detector = PLANTS[plant]
    if detector == "walk":
        assert walked(one.roots, case) != []
    elif detector == "files":
        found = filed(one.roots, case, tmp_path / "images")
        assert [fault for fault in found if " PNG " in fault] != []
    else:
        assert differing(one.roots, played(double(case), plant).roots) != []
