"""What a file says of its patient reaches no policy, tool, record, page, list, log or error."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

import medgym
from medgym.cases import Case, write_cases
from medgym.cli import main
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from medgym.messages import Reply, render_answer, render_call
from medgym.policy import Policy, Sampling
from medgym.uris import file_uri

from .conftest import (
    IDENTIFIERS,
    archive,
    clip,
    ct,
    pictures,
    planted,
    save,
    some_pixels,
    traces_below,
    traces_in,
)  # fmt: skip

OWNER = "Zebedeus^Quirina_18621103"
"""The folder of the originals is called after the patient, as folders are."""


class Spy(Policy):
    """Uses each tool, and keeps all texts and images that it was shown."""

    spec = "spy"

    def __init__(self) -> None:
        self.shown: list[str] = []

    async def act(self, conversation: Any, sampling: Sampling) -> Reply:
        self.shown += [message.text for message in conversation]
        self.shown += [str(part.image.info) for message in conversation for part in message.images]
        box = [100, 100, 700, 800]
        turn = sum(message.role == "assistant" for message in conversation)
        replies = [
            *(
                render_call(tool, {"query": "lesion"} if tool == "retrieve" else {"view": 0})
                for tool in medgym.names("tools")
            ),
            render_call("zoom", {"view": 0, "box": box}),
            render_call("segment", {"view": 0, "point": [500, 500]}),
            render_call("oracle", {}),
            "what?",
        ]
        return Reply(replies[turn] if turn < len(replies) else render_answer("no"))


def case(number: int, path: Path, **ref: Any) -> Case:
    return Case(
        id=f"own/test/{number}",
        images=(ImageRef(uri=file_uri(path), **ref),),
        question="Is there a lesion?",
        answer="no",
        answer_type="closed",
        group=f"g{number}",
        source="own",
        split="test",
    )


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Images of each kind, below a folder that is called after the patient."""
    pixels = some_pixels()
    folder = tmp_path_factory.mktemp("originals") / OWNER
    made = pictures(folder, pixels)
    made["a.dcm"] = save(planted(ct(pixels)), folder / "MRN0081723" / "a.dcm")
    series = [
        save(
            planted(ct(pixels + z, uid=f"1.2.9.{z + 2}"), every=7) | placed(z),
            folder / "series of Quirina" / f"Zebedeus {z}.dcm",
        )
        for z in range(3)
    ]
    made["series"] = series[0].parent
    made["a.mp4"] = clip(folder / "a.mp4")
    made["series.zip"] = archive(folder / "series.zip", *series)
    return made


class placed:
    """Puts a slice where it lies: `dataset | placed(z)`."""

    def __init__(self, z: int) -> None:
        self.z = z

    def __ror__(self, data: pydicom.Dataset) -> pydicom.Dataset:
        data.ImagePositionPatient = [0, 0, self.z]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        return data


def test_what_a_file_says_reaches_no_policy_record_page_or_list(
    originals: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    where = {"series": {"plane": "axial", "index": 1}, "series.zip": {"plane": "axial", "index": 1},
             "a.nii.gz": {"plane": "axial", "index": 1}, "a.mp4": {"frame": 1}}  # fmt: skip
    cases = [
        case(number, path, **where.get(name, {}))
        for number, (name, path) in enumerate(sorted(originals.items()))
    ]
    damaged = originals["a.dcm"].with_name("Zebedeus cut.dcm")
    damaged.write_bytes(originals["a.dcm"].read_bytes()[:-200])
    spoilt = originals["series"].parent / "spoilt Quirina"
    spoilt.mkdir()
    for each in originals["series"].iterdir():
        (spoilt / each.name).write_bytes(each.read_bytes()[: 900 if "1" in each.name else None])
    cases += [case(90, damaged), case(91, spoilt), case(92, spoilt / "none.png")]
    cases += [case(93, originals["series.zip"], plane="axial", index=99)]
    monkeypatch.chdir(tmp_path)
    write_cases(cases, "cases.jsonl")
    spy = Spy()
    played = list(medgym.collect("cases.jsonl", spy, out="run"))
    failed = [each.failure for each in played if each.failure is not None]
    assert len(played) == len(cases)
    assert len(failed) == 4, failed
    assert not traces_in("\n".join(spy.shown))
    assert not traces_in("\n".join(failed)), failed
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["unreadable"]["count"] == 4

    assert main(["view", "run"]) == 0
    assert main(["cases", "cases.jsonl", "--gold"]) == 0
    assert main(["cases", "show", "cases.jsonl", "-n", "9", "--out", "sheet.png"]) == 0
    assert not traces_below(tmp_path / "run")
    assert not traces_in((tmp_path / "sheet.png").read_bytes())
    said = capsys.readouterr()
    assert not traces_in(said.out + said.err + caplog.text)


class Scroller(Policy):
    """Asks for the last slice, then answers."""

    spec = "scroller"

    async def act(self, conversation: Any, sampling: Sampling) -> Reply:
        if any(message.role == "assistant" for message in conversation):
            return Reply(render_answer("no"))
        return Reply(render_call("slice", {"view": 0, "index": 2}))


def test_a_slice_that_cannot_be_read_ends_its_case_and_not_the_run(
    originals: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / OWNER
    folder.mkdir()
    for each in originals["series"].iterdir():
        data = each.read_bytes()
        (folder / each.name).write_bytes(data[:-300] if "2" in each.name else data)
    cases = [
        case(0, folder, plane="axial", index=0),
        case(1, originals["series"], plane="axial", index=0),
    ]
    rules = Rules.for_cases(cases, tools=("slice",))
    damaged, whole = medgym.collect(cases, Scroller(), rules, out=tmp_path / "run", ordered=True)
    assert whole.failure is None
    assert whole.calls == ("slice",)
    assert damaged.failure is not None
    assert "a file of image 0 is cut off within its pixels" in damaged.failure
    assert not traces_below(tmp_path / "run")


def test_no_text_of_an_image_that_is_sent_survives(originals: dict[str, Path]) -> None:
    for name in ("a.png", "a.jpg", "a.tif", "a.webp", "a.dcm"):
        shown = medgym.open_study(originals[name]).show("image", 0)
        assert shown.info == {}
        assert not traces_in(repr(shown.getexif()))


def spoilt(path: Path, kind: str) -> bytes:
    data = path.read_bytes()
    rng = np.random.default_rng(len(data))
    if kind == "noise":
        spots = bytearray(data)
        for at in rng.integers(0, len(data), 40):
            spots[at] ^= 255
        return bytes(spots)
    return data[: int(len(data) * {"third": 0.33, "most": 0.9}[kind])]


@pytest.mark.parametrize("kind", ["third", "most", "noise"])
def test_no_error_says_what_a_damaged_file_says(
    originals: dict[str, Path], tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder,
) -> None:  # fmt: skip
    """A path that the user gave is the user's own; here it says nothing."""
    refused = 0
    for name, path in originals.items():
        if path.is_dir():
            continue
        copy = tmp_path / f"damaged{''.join(Path(name).suffixes)}"
        copy.write_bytes(spoilt(path, kind))
        try:
            study = medgym.open_study(copy)
            plane = next(iter(study.planes))
            study.show(plane, 0)
            text = f"{study.name} {dict(study.planes)} {study.windows(plane, 0)}"
        except UserError as error:
            refused += 1
            text = str(error).replace(OWNER, "")
        text = text.replace("'Zebedeus/", "'")  # the name of a member of a zip is a path
        assert not [t for t in traces_in(text) if t != "zebedeus"], text
        assert ".zip" in name or not traces_in(text), text
    assert refused > 2
    said = capsys.readouterr()
    warned = "".join(str(each.message) for each in recwarn.list)
    assert not traces_in(said.out + said.err + caplog.text + warned)


def test_there_are_eighteen_identifiers() -> None:
    assert len(IDENTIFIERS) == 18
    assert all(traces_in(each) for each in IDENTIFIERS.values())


def test_what_is_packed_is_searched_too(tmp_path: Path) -> None:
    path = save(ct(some_pixels()), tmp_path / "a.dcm")
    told = case(0, path).model_copy(update={"context": "Zebedeus Quirina " * 9})
    played = list(medgym.collect([told], Spy(), out=tmp_path / "run"))
    assert played[0].failure is None
    assert [each for each in traces_below(tmp_path / "run") if ".parquet" in each]
