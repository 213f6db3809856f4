"""What the training of a consultation lacks is said in one line before anything is written."""

from pathlib import Path
from typing import Any

import pytest

from medgym.cli import main
from medgym.errors import UserError
from medgym.registry import load, names
from medgym.train.consultation.check import check
from medgym.train.recipe.schema import load_recipe
from medgym.train.run.opened import Run

THREE = ["radiologist", "ophthalmologist", "pathologist"]


def recipe(marl: dict[str, Any] | None = None, **changes: Any) -> Any:
    loaded, _ = load_recipe("consult-tiny")
    changed = loaded.marl.model_copy(update=marl or {})
    return loaded.model_copy(update={"marl": changed, **changes})


def specialist(**table: Any) -> dict[str, Any]:
    return {"specialist": table}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"consultation": {"specialties": ["surgeon"]}},
            "no specialty that triage may choose",
        ),
        (
            {
                "consultation": {"specialties": [*THREE, "surgeon"]},
                "roles": specialist(trainable=True),
            },
            "no case is for the surgeon, which is to learn",
        ),
        ({"roles": specialist(policy="scripted:specialst")}, "did you mean 'specialist'"),
        ({"roles": specialist(policy="hf:/nowhere")}, "no such model folder: /nowhere"),
        ({"roles": specialist(policy="openai:http://127.0.0.1:9/v1#x")}, "127.0.0.1:9"),
        ({"roles": specialist(policy="scripted:prior", trainable=True)}, "is trainable"),
        ({"grpo": {"max_steps": 2, "num_generations": 3}}, "TRL refuses [grpo]"),
    ],
)
def test_what_cannot_be_trained_or_had_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError) as error:
        check(Run(recipe(**changes), Path("run")))
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_what_can_be_trained_passes() -> None:
    for name in names("recipes"):
        if (shipped := load_recipe(name)[0]).consultation is not None:
            # Its engine needs a library and a model that are not here.
            rollout = shipped.rollout.model_copy(update={"policy": None})
            check(Run(shipped.model_copy(update={"rollout": rollout}), Path("run")))
    check(
        Run(
            recipe(consultation={"specialties": THREE}, roles=specialist(trainable=True)),
            Path("run"),
        )
    )
    anybody = {"specialties": ["surgeon"]}
    check(Run(recipe({"triage_reward": "outcome"}, consultation=anybody), Path("run")))
    check(Run(recipe(consultation=anybody | {"triage": False}), Path("run")))


@pytest.mark.parametrize("command", [["train"], ["train", "ablate"]])
def test_the_command_refuses_before_it_makes_a_folder(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = load("recipes", "consult-tiny").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("scripted:specialist", "scripted:specialst"))
    assert main([*command, str(path), "--out", str(tmp_path / "run")]) == 2
    assert "did you mean 'specialist'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
