"""Names of files do not stay in what a run keeps of an error."""

from pathlib import Path

from medgym.imaging.study import ImageRef
from medgym.privacy.names import without_names


def test_the_name_of_a_file_that_is_gone_is_taken_out_whole(tmp_path: Path) -> None:
    images = [ImageRef(uri=f"file:{tmp_path}/study")]
    said = f"no such image: {tmp_path}/study/DOE JOHN, pneumonia.dcm; fix: check the path"
    assert without_names(said, images) == ("no such image: a file of image 0; fix: check the path")
    said = f"no such image: {tmp_path}/study; fix: check the path"
    assert without_names(said, images) == "no such image: image 0; fix: check the path"
