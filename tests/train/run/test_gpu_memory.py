"""Training that finds no memory on a GPU ends with one line, and its stage is not done."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from medgym.errors import UserError  # noqa: E402
from medgym.gpu_memory import GpuMemoryError  # noqa: E402
from medgym.storage.layout import Place  # noqa: E402
from medgym.train.doctor.checks import guarded  # noqa: E402
from medgym.train.run.stage import once  # noqa: E402
from tests.test_gpu_memory import LINE, SAID  # noqa: E402


def full(*_: object) -> None:
    raise torch.OutOfMemoryError(SAID)


def refused() -> None:
    try:
        full()
    except RuntimeError as error:
        raise UserError("TRL refuses the recipe: OutOfMemoryError; fix: correct it") from error


@pytest.mark.parametrize("work", [full, refused])
def test_a_stage_that_finds_no_memory_says_what_helps(work: object, tmp_path: Path) -> None:
    place = Place(tmp_path)
    with pytest.raises(GpuMemoryError) as caught:
        once(place, "grpo", work)  # type: ignore[arg-type]
    said = str(caught.value)
    assert said.startswith(f"{LINE}; fix: ")
    assert "per_device_train_batch_size" in said
    assert "--resume" in said
    assert "\n" not in said
    assert place.stages() == {}


def test_the_doctor_says_it_of_the_check() -> None:
    check = guarded("agreement", full, None)  # type: ignore[arg-type]
    assert check.verdict == "fail"
    assert check.figure == {"error": LINE}
    assert check.fix.endswith("fewer --cases")
