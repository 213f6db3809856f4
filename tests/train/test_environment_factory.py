"""TRL's own tool loop over our episodes: what a policy is told, what it is paid, a real step."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from transformers.utils import get_json_schema
from trl import GRPOConfig, GRPOTrainer

import medgym
from medgym import Rubric, Term, ToolArgs, ToolResult, UserError, open_cases
from medgym.failures import Failure
from medgym.train import environment_factory as module
from medgym.train import trl_environment
from tests.tool_names import BARE

CASES = "phantom,look=radiograph,question=kind:train[:4]"


def text(content: Any) -> str:
    return "".join(part.get("text", "") for part in content)


def pictures(content: Any) -> list[Any]:
    return [part["image"] for part in content if part["type"] == "image"]


def test_it_is_there_without_torch() -> None:
    code = (
        "import sys, medgym.train; assert 'torch' not in sys.modules;"
        "from medgym.train import trl_environment; import medgym.train.environment_factory as home;"
        "assert trl_environment is home.trl_environment"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_name_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'environment_of_trl'"):
        _ = medgym.train.environment_of_trl


def test_an_episode_through_its_methods() -> None:
    looking = trl_environment(CASES)
    case = open_cases(CASES)[2]
    player = looking()
    asked = player.reset(**looking.dataset()[2])
    assert case.question in text(asked)
    assert "call answer to answer" in text(asked)
    assert [p.size for p in pictures(asked)] == [(64, 64)]
    seen = player.zoom(view=0, box=[250, 250, 500, 500])
    assert text(seen) == "View 1: 128 x 128 pixels of image 0."
    assert [p.size for p in pictures(seen)] == [(64, 64)]
    assert text(player.zoom(view=9, box=[0, 0, 5, 5])).startswith("Error: there is no view 9")
    assert text(player.zoom(view="first", box=[0, 0, 5, 5])).startswith("Error: zoom: view: ")
    letter = "ABCD"[case.options.index(case.answer)]
    assert player.answer(letter) == module.OVER
    assert player.get_reward() == pytest.approx(1.1)
    assert player.zoom(view=0, box=[0, 0, 500, 500]) == player.answer("A") == module.OVER
    assert player.get_reward() == pytest.approx(1.1), "what was answered stands"


def test_without_an_answer_there_is_no_reward() -> None:
    player = trl_environment(CASES)()
    player.reset(case=0)
    player.zoom(view=0, box=[250, 250, 500, 500])
    assert player.get_reward() == 0.0


def test_environments_do_not_see_each_other() -> None:
    looking = trl_environment(CASES)
    one, other = looking(), looking()
    one.reset(case=0)
    other.reset(case=0)
    one.zoom(view=0, box=[250, 250, 500, 500])
    assert "View 1:" in text(other.zoom(view=0, box=[250, 250, 500, 500]))
    one.reset(case=0)
    assert "View 1:" in text(one.zoom(view=0, box=[250, 250, 500, 500])), "a reset begins anew"


def test_a_call_before_the_reset_is_a_fault() -> None:
    with pytest.raises(RuntimeError, match="reset before"):
        trl_environment(CASES)().answer("A")


def test_without_a_data_set_all_of_a_step_play_one_case() -> None:
    looking = trl_environment(CASES)
    players = [looking() for _ in range(3)]
    steps = [[text(p.reset(prompt=[])) for p in players] for _ in range(5)]
    assert all(len(set(step)) == 1 for step in steps)
    cases = open_cases(CASES)
    for step, texts in enumerate(steps):
        assert f"A. {cases[step % 4].options[0]}" in texts[0]


@pytest.mark.parametrize("name", BARE)
def test_the_policy_reads_of_a_tool_what_it_reads_everywhere(name: str) -> None:
    tool = medgym.load("tools", name)()
    player = trl_environment(CASES, tools=[name])()
    told = get_json_schema(getattr(player, name))["function"]
    ours = tool.schema()
    assert told["name"] == name
    assert told["description"] == ours["description"]
    assert told["parameters"]["properties"].keys() == ours["parameters"]["properties"].keys()
    assert told["parameters"].get("required", []) == ours["parameters"].get("required", [])
    assert all(field["description"] for field in told["parameters"]["properties"].values())


class Odd(medgym.Tool):
    """Takes what no schema of transformers tells."""

    name = "odd"

    class Args(ToolArgs):
        value: complex

    def __call__(self, args: Any, workspace: Any) -> ToolResult:
        return ToolResult("odd")


@medgym.as_tool
def mode(kind: Literal["a", "b"] = "a") -> str:
    """Says what it was asked."""
    return kind


@medgym.as_tool
def crash() -> str:
    """Crashes."""
    raise OSError("no server")


@medgym.as_tool
def answer(text: str) -> str:
    """Answers otherwise."""
    return text


def test_a_tool_of_ones_own() -> None:
    player = trl_environment(CASES, tools=[mode])()
    player.reset(case=0)
    assert text(player.mode(kind="b")) == "b"
    assert get_json_schema(player.mode)["function"]["parameters"]["properties"]["kind"]["enum"]


def test_a_tool_that_cannot_be_described_is_named() -> None:
    with pytest.raises(UserError, match=r"cannot describe the tool 'odd' .*; fix: give its arg"):
        trl_environment(CASES, tools=[Odd()])


def test_a_tool_called_answer_is_refused() -> None:
    with pytest.raises(UserError, match=r"a tool is named 'answer'.*fix: rename"):
        trl_environment(CASES, tools=[answer])


def test_a_crash_is_no_reward() -> None:
    player = trl_environment(CASES, tools=[crash])()
    player.reset(case=0)
    with pytest.raises(Failure, match="tool: crash raised OSError at "):
        player.crash()
    assert player.get_reward() is None
    player.reset(case=0)
    assert player.get_reward() == 0.0


def called(name: str, arguments: str) -> str:
    return f'<tool_call>{{"name": "{name}", "arguments": {arguments}}}</tool_call><|im_end|>'


REPLIES = (
    called("zoom", '{"view": 0, "box": [250, 250, 500, 500]}'),
    called("answer", '{"answer": "A"}'),
    "Done.<|im_end|>",
)
"""What the policy of the test is made to write, turn by turn; a model of random weights would call
nothing."""


class Scripted(GRPOTrainer):
    """Vanilla, except that the text it samples is given."""

    def _generate_single_turn(self, prompt_ids: Any, *rest: Any, **named: Any) -> Any:
        super()._generate_single_turn(prompt_ids, *rest, **named)  # the model reads it all the same
        tokenizer = self.processing_class.tokenizer
        turns = [tokenizer.decode(ids).count("<|im_start|>assistant") - 1 for ids in prompt_ids]
        ids = [tokenizer(REPLIES[turn], add_special_tokens=False)["input_ids"] for turn in turns]
        return ids, None

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        self.made = super()._generate_and_score_completions(inputs)
        return self.made


@pytest.mark.parametrize("rows", [True, False])
def test_a_vanilla_trainer_takes_a_step(tiny_folder: Path, tmp_path: Path, rows: bool) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    looking = trl_environment(
        CASES, rubric=Rubric("looks", (Term("looks", 1.0, lambda c, e: len(e.turns)),))
    )
    trainer = Scripted(
        model=AutoModelForImageTextToText.from_pretrained(tiny_folder, dtype=torch.float32),
        processing_class=AutoProcessor.from_pretrained(tiny_folder),
        train_dataset=looking.dataset() if rows else None,
        environment_factory=looking,
        args=GRPOConfig(
            output_dir=str(tmp_path), per_device_train_batch_size=4, num_generations=2,
            max_steps=1, logging_steps=1, report_to=[], use_cpu=True, bf16=False,
            gradient_checkpointing=False, disable_tqdm=True, save_strategy="no", beta=0.0,
            max_completion_length=600,
            generation_kwargs={"max_new_tokens": 4},
        ),
    )  # fmt: skip
    trainer.train()
    (log,) = [entry for entry in trainer.state.log_history if "tools/call_frequency" in entry]
    assert log["rewards/Looking/mean"] == 2.0, "a look and an answer"
    assert log["tools/call_frequency"] == 2.0
    assert log["tools/failure_frequency"] == 0.0
    made = trainer.made
    placeholders = int((made["mm_token_type_ids"] == 1).sum())
    features = int((made["image_grid_thw"].prod(dim=1) // 4).sum())
    assert len(made["image_grid_thw"]) == 8, "a question's and a tool's image for each rollout"
    assert placeholders == features > 0
    asked = {player._episode.messages[1].images[0].sha256 for player in trainer.environments}
    assert len(asked) == (2 if rows else 1), "a case for each group of a data set"
