"""MedMNIST: a set and a size by option, arrays mapped, labels as questions."""

from pathlib import Path

import numpy as np
import pytest

import medgym
from medgym.errors import UserError
from medgym.imaging.study import ImagingStudy, Study, open_image, open_study
from medgym.scorer import grade
from medgym.sources.studies import arrays
from medgym.sources.studies.medmnist import MedMNIST, file_name
from medgym.sources.studies.medmnist_sets import SETS
from tests.serving.hub import Hub, fetched_cases

COUNTS = {"train": 5, "val": 2, "test": 3}


def _written(folder: Path, name: str, size: int = 28, packed: bool = True) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    its = SETS[name]
    shape = (size,) * (3 if name.endswith("3d") else 2) + ((3,) if its.colours else ())
    held = {}
    for split, count in COUNTS.items():
        held[f"{split}_images"] = rng.integers(0, 255, (count, *shape), np.uint8)
        width = 1 if its.question else len(its.classes)
        most = len(its.classes) if its.question else 2
        held[f"{split}_labels"] = rng.integers(0, most, (count, width)).astype(np.uint8)
    (np.savez_compressed if packed else np.savez)(folder / file_name(name, size), **held)
    return held


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "medgym" / "arrays"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "100% of it #1" / "medmnist"
    made.mkdir(parents=True)
    return made


def _cases(folder: Path, spec: str) -> medgym.CaseList:
    options, _, split = spec.partition(":")
    return medgym.open_cases(f"medmnist,{options},counts=any,data={folder.parent}:{split}")


def test_images_and_classes(folder: Path, cache: Path) -> None:
    held = _written(folder, "pathmnist", 64)
    cases = _cases(folder, "set=pathmnist,size=64:test")
    assert len(cases) == 3
    for number, case in enumerate(cases):
        assert case.id == f"medmnist/test/pathmnist-64-{number:06d}"
        assert case.answer_type == "choice"
        assert case.options == SETS["pathmnist"].classes
        assert case.answer == case.options[held["test_labels"][number, 0]]
        assert not any(name in case.question for name in case.options)
        image = open_image(case.images[0])
        assert np.array_equal(image.pixels, held["test_images"][number])
    # Only the split that was shown is unpacked, once.
    assert [each.name for each in cache.rglob("*.npy")] == ["test_images.npy"]


def test_an_array_that_is_not_packed_is_mapped_where_it_lies(folder: Path, cache: Path) -> None:
    held = _written(folder, "octmnist", packed=False)
    (case, *_) = _cases(folder, "set=octmnist:val")
    assert np.array_equal(open_image(case.images[0]).pixels, held["val_images"][0])
    assert not cache.exists()


def test_another_file_of_the_same_name_is_unpacked_again(folder: Path) -> None:
    _written(folder, "octmnist")
    (case, *_) = _cases(folder, "set=octmnist:val")
    before = open_image(case.images[0]).pixels
    path = folder / "octmnist.npz"
    held = dict(np.load(path))
    held["val_images"] = 255 - held["val_images"]
    np.savez_compressed(path, **held)
    assert np.array_equal(open_image(case.images[0]).pixels, 255 - before)


def test_volumes_have_planes_along_their_axes(folder: Path) -> None:
    held = _written(folder, "organmnist3d")
    (case, *_) = _cases(folder, "set=organmnist3d:test")
    volume = held["test_images"][0]
    study = open_study(case.images[0])
    assert isinstance(study, ImagingStudy)
    assert {name: plane.count for name, plane in study.planes.items()} == {
        "axis-0": 28,
        "axis-1": 28,
        "axis-2": 28,
    }
    assert np.array_equal(open_image(case.images[0]).pixels, volume[14])
    assert np.array_equal(study.image("axis-1", 3).pixels, volume[:, 3])
    part = study.image("axis-2", 5, (2.0, 4.0, 10.0, 9.0))
    assert np.array_equal(part.pixels, volume[4:9, 2:10, 5])


def test_several_labels_are_a_set(folder: Path) -> None:
    held = _written(folder, "chestmnist")
    held["val_labels"][0] = 0
    held["val_labels"][1] = [1, 0, 1] + [0] * 11
    np.savez_compressed(folder / "chestmnist.npz", **held)
    none, two = _cases(folder, "set=chestmnist:val")
    assert (none.answer_type, none.answer, none.options) == ("set", "no finding", ())
    assert two.answer == "atelectasis, effusion"
    assert grade(two, "effusion; Atelectasis").right
    assert not grade(two, "effusion").right
    assert all(name in two.question for name in SETS["chestmnist"].classes)


def test_a_label_without_a_class_is_dropped_and_named(folder: Path) -> None:
    held = _written(folder, "octmnist")
    held["test_labels"][1] = 9
    np.savez_compressed(folder / "octmnist.npz", **held)
    cases = _cases(folder, "set=octmnist:test")
    assert len(cases) == 2
    assert list(cases.dropped) == [
        ("test image 1 of octmnist.npz", "the label 9 is that of no class")
    ]


def test_every_set_can_be_asked() -> None:
    from medgym.sources.studies.medmnist import asked

    for name, its in SETS.items():
        width = 1 if its.question else len(its.classes)
        question, options, answer = asked(its, [1] * width)
        assert question.endswith(("?", "."))
        assert len(set(options)) == len(options), name
        assert answer in options or not options


def test_the_published_counts() -> None:
    splits = MedMNIST.card.splits
    assert sum(its.counts[0] for its in SETS.values()) == splits["train"].rows
    assert len(SETS) == 18
    assert len(MedMNIST.card.files) == 60
    assert len({file.md5 for file in MedMNIST.card.files}) == 60
    assert SETS["organamnist"].counts == (34561, 6491, 17778)


def test_refusals(folder: Path) -> None:
    _written(folder, "breastmnist")
    data = f"data={folder.parent}"
    for spec, said in (
        (f"medmnist,{data}:test", "medmnist has 18 sets; fix: name one"),
        (f"medmnist,set=breastmnst,{data}:test", "breastmnist"),
        (f"medmnist,set=organmnist3d,size=224,{data}:test", "size of organmnist3d"),
        (f"medmnist,set=breastmnist,{data}:test", r"has 3 rows \(expected 156\) \(by its page\)"),
        (f"medmnist,set=breastmnist,size=64,{data}:test", "has no breastmnist_64.npz"),
    ):
        with pytest.raises(UserError, match=said):
            len(medgym.open_cases(spec))


def test_half_a_file_is_refused(folder: Path) -> None:
    _written(folder, "breastmnist")
    path = folder / "breastmnist.npz"
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(UserError, match=r"holds no whole array .*; fix: fetch it again"):
        len(_cases(folder, "set=breastmnist:test"))


def test_a_damaged_member_leaves_nothing_in_the_cache(folder: Path, cache: Path) -> None:
    _written(folder, "breastmnist")
    path = folder / "breastmnist.npz"
    data = bytearray(path.read_bytes())
    at = data.index(b"val_images.npy") + 900
    data[at : at + 40] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(UserError, match="holds no whole array 'val_images'"):
        arrays.shared_array(path, "val_images")
    assert not [each for each in cache.rglob("*") if each.is_file()]


def test_another_sets_array_is_refused(folder: Path) -> None:
    _written(folder, "breastmnist", 64)
    (folder / "breastmnist_64.npz").rename(folder / "breastmnist.npz")
    with pytest.raises(UserError, match=r"holds test images of shape \(3, 64, 64\)"):
        len(_cases(folder, "set=breastmnist:test"))


def test_an_image_that_is_not_there(folder: Path) -> None:
    _written(folder, "breastmnist")
    (case, *_) = _cases(folder, "set=breastmnist:test")
    ref = case.images[0].model_copy(update={"member": "test_images/7"})
    with pytest.raises(UserError, match="has 3 images, and no number 7"):
        open_image(ref)
    assert isinstance(open_image(case.images[0]), Study)


def test_through_the_hub(hub: Hub, folder: Path, tmp_path: Path) -> None:
    held = _written(folder, "breastmnist")
    chosen = ("breastmnist.npz",)
    cases = fetched_cases(
        hub, "medmnist", folder, "test", tmp_path / "data", "set=breastmnist", files=chosen
    )
    assert [
        np.array_equal(open_image(case.images[0]).pixels, pixels)
        for case, pixels in zip(cases, held["test_images"], strict=True)
    ] == [True] * 3


def test_what_is_not_whole_in_the_cache_is_unpacked_again(folder: Path, cache: Path) -> None:
    held = _written(folder, "octmnist")
    (case, *_) = _cases(folder, "set=octmnist:val")
    open_image(case.images[0])
    (kept,) = cache.rglob("*.npy")
    kept.write_bytes(kept.read_bytes()[:-9])
    arrays._mapped.cache_clear()
    assert np.array_equal(open_image(case.images[0]).pixels, held["val_images"][0])


def test_a_cache_that_cannot_be_written(folder: Path, cache: Path) -> None:
    _written(folder, "octmnist")
    (case, *_) = _cases(folder, "set=octmnist:val")
    cache.parent.mkdir(parents=True)
    cache.write_text("in the way")
    with pytest.raises(UserError, match=r"cannot unpack val_images of .*or set XDG_CACHE_HOME"):
        open_image(case.images[0])
