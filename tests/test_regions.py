"""Where a gold finding is: on which images of a study."""

from typing import Any

import pytest
from pydantic import ValidationError

from medgym.regions import Region


def region(**place: Any) -> Region:
    return Region(label="x", box_px=(0, 0, 4, 4), **place)


def test_a_region_lies_on_the_images_that_it_names() -> None:
    made = region(plane="axial", index=3, count=4)
    assert [index for index in range(9) if made.lies_on("axial", index)] == [3, 4, 5, 6]
    assert not made.lies_on("coronal", 4)
    assert made.middle == 4
    assert region(plane="frame", index=7).middle == 7
    assert Region.model_validate_json(made.model_dump_json()) == made


def test_a_region_of_a_single_image_lies_on_it() -> None:
    assert region().lies_on("image", 0)
    assert region().model_dump(exclude_defaults=True) == {"label": "x", "box_px": (0, 0, 4, 4)}


@pytest.mark.parametrize(
    "place",
    [{"plane": "axial"}, {"index": 3}, {"plane": "axial", "index": -1},
     {"plane": "axial", "index": 0, "count": 0}],
)  # fmt: skip
def test_a_place_that_is_none_is_refused(place: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        region(**place)
