"""The source `folder`: classes as folders, splits as folders of these."""

from pathlib import Path

import pytest

from medgym.cases import open_cases
from medgym.errors import UserError


def made(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def test_the_names_of_folders_are_the_options(tmp_path: Path) -> None:
    made(tmp_path / "skin", "nevus/1.png", "mela noma/2.png", "nevus/.hidden", "nevus/notes.txt")
    made(tmp_path / "skin", "mela noma/deep/3.jpg", "nevus/study/1.dcm", "nevus/study/2.dcm")
    cases = open_cases(f"folder,path={tmp_path}/skin,modality=CT:all")
    assert [(case.id, case.answer) for case in cases] == [
        ("skin/all/mela noma/2.png", "mela noma"),
        ("skin/all/mela noma/deep/3.jpg", "mela noma"),
        ("skin/all/nevus/1.png", "nevus"),
        ("skin/all/nevus/study", "nevus"),
    ]
    assert {case.options for case in cases} == {("mela noma", "nevus")}
    assert cases[1].images[0].uri == (tmp_path / "skin/mela noma/deep/3.jpg").as_uri()
    assert (cases[0].modality, cases[0].question) == ("CT", "Which of these does the image show?")


def test_folders_of_splits(tmp_path: Path) -> None:
    made(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/3.png")
    assert len(open_cases(f"folder,path={tmp_path}:train")) == 2
    (case,) = open_cases(f'folder,path={tmp_path},question="What, then?":test')
    assert (case.options, case.answer, case.question) == (("a", "b"), "a", "What, then?")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("folder,path={}/none:all", "cannot read the folder .*none"),
        ("folder,path={}:all", "has 1 folders of classes, and 2 to 26 can be options"),
        ("folder:all", "fix: write folder,path=DIR:all"),
        ("folder,path={},kind=x:all", "unknown option of the source folder 'kind'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, spec: str, said: str) -> None:
    made(tmp_path, "a/1.png")
    with pytest.raises(UserError, match=said):
        open_cases(spec.format(tmp_path))
