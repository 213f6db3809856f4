"""A GPU without memory: one line with the figures and a fix, wherever it is met."""

import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from medgym.cli import main  # noqa: E402
from medgym.errors import UserError  # noqa: E402
from medgym.gpu_memory import GpuMemoryError, gpu_memory_error  # noqa: E402

SAID = (
    "CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of 23.68 GiB of "
    "which 13.44 MiB is free. Process 1 has 23.60 GiB memory in use. Of the allocated memory 22.9 "
    "GiB is allocated by PyTorch, and 100 MiB is reserved by PyTorch but unallocated. If reserved "
    "but unallocated memory is large try setting PYTORCH_ALLOC_CONF=expandable_segments:True"
)
"""PyTorch's own words."""

LINE = (
    "the GPU has no memory left: 1.50 GiB more were asked for, and 13.44 MiB of 23.68 GiB are free"
)


def test_the_figures_are_kept_and_a_fix_is_given() -> None:
    said = gpu_memory_error(torch.OutOfMemoryError(SAID), "less")
    assert str(said) == f"{LINE}; fix: less"


def test_a_share_of_the_memory_that_a_process_may_have_is_said() -> None:
    text = SAID.replace("Of the allocated", "8.00 GiB allowed; Of the allocated")
    said = gpu_memory_error(torch.OutOfMemoryError(text), "less")
    assert str(said) == f"{LINE} (8.00 GiB allowed); fix: less"


def test_what_it_was_raised_as_does_not_matter() -> None:
    refused = UserError("TRL refuses the recipe; fix: correct it")
    refused.__cause__ = torch.OutOfMemoryError(SAID)
    assert str(gpu_memory_error(refused, "less")) == f"{LINE}; fix: less"


def test_another_place_gives_another_fix() -> None:
    first = gpu_memory_error(torch.OutOfMemoryError(SAID), "less")
    assert first is not None
    second = gpu_memory_error(pickle.loads(pickle.dumps(first)), "more")
    assert isinstance(second, GpuMemoryError)
    assert str(second) == f"{LINE}; fix: more"


@pytest.mark.parametrize(
    "text", ["CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"]
)
def test_other_libraries_of_the_gpu_say_it_otherwise(text: str) -> None:
    said = gpu_memory_error(RuntimeError(text), "less")
    assert str(said) == "the GPU has no memory left; fix: less"


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), MemoryError(), OSError(28, "")])
def test_other_errors_are_not_meant(error: Exception) -> None:
    assert gpu_memory_error(error, "less") is None


def test_a_model_that_does_not_fit_is_said_in_one_line(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from transformers import AutoModelForImageTextToText

    def too_large(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError(SAID)

    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", too_large)
    asked = ["eval", "phantom:test[:1]", "--policy", f"hf:{tiny_folder}", "--out", f"{tmp_path}/e"]
    assert main(asked) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"medgym: {LINE}; fix: end what else uses the GPU")
    assert "dtype = bfloat16" in said


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_pytorch_says_it_so() -> None:
    with pytest.raises(torch.OutOfMemoryError) as caught:
        torch.empty(2**50, dtype=torch.uint8, device="cuda")
    said = str(gpu_memory_error(caught.value, "less"))
    assert "1048576.00 GiB more were asked for, and " in said
    assert said.endswith(" are free; fix: less")
