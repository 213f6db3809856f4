import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgym.cases import Case, write_cases
from medgym.errors import UserError
from medgym.evals.tuning.apart import UsedCases, require_apart, require_no_test, spec_of_test
from medgym.imaging.study import ImageRef


def case(name: str, image: Path, group: str = "", split: str = "all") -> Case:
    return Case(
        id=f"mine/{split}/{name}", source="mine", split=split, group=group,
        images=(ImageRef(uri=f"file:{image}"),), question="Which side?", options=("left", "right"),
        answer="left", answer_type="choice",
    )  # fmt: skip


def part(folder: Path, use: str, *cases: Case) -> UsedCases:
    path = folder / f"{use}.jsonl"
    write_cases(cases, path)
    return UsedCases.of(use, str(path))


def picture(folder: Path, name: str, seed: int, size: int = 128) -> Path:
    """Some smooth texture, which a resized copy still shows."""
    grid = np.random.default_rng(seed).integers(0, 255, (16, 16), dtype=np.uint8)
    image = Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)
    image.save(folder / name)
    return folder / name


def test_what_shares_nothing_is_allowed(tmp_path: Path) -> None:
    one, other = (picture(tmp_path, f"{seed}.png", seed) for seed in (1, 2))
    require_apart(
        [part(tmp_path, "validation", case("a", one)), part(tmp_path, "test", case("b", other))]
    )
    splits = [UsedCases.of(use, f"phantom:{use}[:3]") for use in ("validation", "test", "train")]
    require_apart(splits)


def test_a_case_a_group_or_an_image_in_common_is_refused(tmp_path: Path) -> None:
    one, other = (picture(tmp_path, f"{seed}.png", seed) for seed in (1, 2))
    near = picture(tmp_path, "near.png", 1, size=160)
    mine = part(tmp_path, "validation", case("a", one, "patient 7"))
    for theirs, shared in (
        (case("a", other), "the case mine/all/a,"),
        (case("b", other, "patient 7"), r"the group 'patient 7', such as a patient \(mine/all/a\)"),
        (case("c", one), r"an image \(mine/all/a and mine/all/c\)"),
        (case("d", near), r"an image \(mine/all/a and mine/all/d\)"),
    ):
        with pytest.raises(UserError, match=f"share {shared}.*fix: choose other cases"):
            require_apart([mine, part(tmp_path, "test", theirs)])


def test_slices_of_one_split_are_compared() -> None:
    parts = [
        UsedCases.of("validation", "phantom:validation[:8]"),
        UsedCases.of("examples", "phantom:validation[4:9]"),
    ]
    with pytest.raises(UserError, match="share the case phantom/"):
        require_apart(parts)


def test_a_test_split_is_refused_however_it_is_named(tmp_path: Path) -> None:
    image = picture(tmp_path, "1.png", 1)
    table = tmp_path / "mine.csv"
    rows = (f"{image},Is it left?,yes,{split}" for split in ("test", "test"))
    table.write_text("\n".join(("image,question,answer,split", *rows)))
    spec, whole = f"table,path={table}", f"table,path={table},split=-:all"
    for named, fix in (
        ("phantom,look=ct:test[:4]", "take phantom,look=ct:train or phantom,look=ct:validation"),
        (f"{spec}:test", f"cut the table in two, as {whole}[:100] here and {whole}[100:] by"),
    ):
        with pytest.raises(UserError, match=re.escape(f"may be chosen; fix: {fix}")):
            require_no_test(UsedCases.of("validation", named))
    held = part(tmp_path, "validation", case("a", image), case("b", image, split="Test-mini"))
    with pytest.raises(UserError, match=r"holds test cases \(mine/Test-mini/b is of the split"):
        require_no_test(held)
    for allowed in ("phantom:validation[:4]", f"{whole}[:1]", str(tmp_path / "test.jsonl")):
        part(tmp_path, "test", case("a", image))
        require_no_test(UsedCases.of("validation", allowed))


def test_the_test_cases_are_those_of_the_same_source() -> None:
    assert spec_of_test("phantom,look=ct:validation[:40]") == "phantom,look=ct:test"
    with pytest.raises(UserError, match=r"does not say which cases are the test; fix: .* --test"):
        spec_of_test("mine.jsonl")
