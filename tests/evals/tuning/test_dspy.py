import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from medgym.errors import UserError
from medgym.evals.tuning.grammar import Candidate
from medgym.evals.tuning.halving import halve, planned
from medgym.evals.tuning.kept import Kept
from medgym.evals.tuning.record import tuned
from medgym.evals.tuning.training import TrainingEpisodes
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling

from .test_search import LETTER, trials


class Adviser(Policy):
    """Writes the same advice whatever it is asked, in whichever field is asked for."""

    spec = "adviser"
    kind = "text"

    def __init__(self) -> None:
        self.calls = 0

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        self.calls += 1
        asked = "".join(each.text for each in conversation)
        advice = f'{{"answer": "{LETTER}"}}' if "module_advice" in asked else LETTER
        fields = [
            name
            for name in (
                "discussion", "module_advice", "observations", "summary", "program_description",
                "module_description", "proposed_instruction",
            )
            if f"[[ ## {name} ## ]]" in asked
        ]  # fmt: skip
        written = dict.fromkeys(fields, "-") | {
            "module_advice": advice, "proposed_instruction": LETTER,
        }  # fmt: skip
        if "new_instruction" in asked:  # GEPA, which takes JSON too
            return Reply(json.dumps({"new_instruction": LETTER}))
        said = "\n\n".join(f"[[ ## {name} ## ]]\n{written[name]}" for name in fields)
        return Reply(f"{said}\n\n[[ ## completed ## ]]")


def episodes(folder: Path, budget: int, kept: Kept | None = None) -> TrainingEpisodes:
    source = trials("train", 16, folder)
    return TrainingEpisodes(
        source.evaluation, source.cases, source.rules, budget, kept=kept or Kept()
    )


def test_an_episode_is_played_once_and_the_budget_is_kept(tmp_path: Path) -> None:
    played = episodes(tmp_path, 3, Kept(tmp_path / "kept.jsonl"))
    first, second = (case.id for case in played.cases[:2])
    found = played.answer(LETTER, first)
    assert played.answer(LETTER, first, rollout=4) == found  # greedy: there is only one
    assert len(played.kept) == 1
    for rollout in (1, 2):
        played.answer(LETTER, first, 1.0, rollout)
    assert played.answer(LETTER, second) == {"answer": "", "right": False}
    assert (len(played.kept), played.refused) == (3, 1)


def test_what_is_kept_outlives_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    kept = Kept(path)
    kept.put("a", {"right": True})
    kept.put("b", "text")
    path.write_bytes(path.read_bytes()[:-4])
    again = Kept(path)
    assert ("a" in again, "b" in again, again["a"]) == (True, False, {"right": True})
    again.put("c", 1)
    assert len(Kept(path)) == 2


@pytest.mark.parametrize("name", ["simba", "mipro", "gepa"])
def test_an_optimiser_of_dspy_proposes_what_its_model_writes(name: str, tmp_path: Path) -> None:
    pytest.importorskip("dspy")
    from medgym.evals.tuning.dspy_search import Writer, proposed

    adviser, kept = Adviser(), Kept(tmp_path / "written.jsonl")
    played = episodes(tmp_path, 150)
    found = proposed(name, played, Writer(adviser, 0, kept), count=8, seed=0, shots=2)
    assert found[0] == Candidate(0)
    assert any(LETTER in each.prompt for each in found)
    assert len({each.prompt for each in found}) == len(found) <= 8
    assert len(played.kept) <= 150
    assert adviser.calls == len(kept)
    # The same search again asks for no episode and no reply.
    calls, episodes_played = adviser.calls, len(played.kept)
    again = proposed(name, played, Writer(adviser, 0, kept), count=8, seed=0, shots=2)
    assert (adviser.calls, len(played.kept)) == (calls, episodes_played)
    assert again == found


class Babbler(Adviser):
    """Writes what is no instruction, as a small model does."""

    spec = "babbler"

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        return Reply("<answer>125, 750</answer>")


def test_a_writer_that_writes_no_instruction_is_named(tmp_path: Path) -> None:
    pytest.importorskip("dspy")
    from medgym.evals.tuning.dspy_search import Writer, proposed

    played, writer = episodes(tmp_path, 60), Writer(Babbler(), 0, Kept())
    with pytest.raises(UserError, match=r"dspy:mipro cannot use what babbler wrote .*; fix: name"):
        proposed("mipro", played, writer, count=4, seed=0, shots=2)
    assert proposed("gepa", played, writer, count=4, seed=0, shots=2) == [Candidate(0)]


def test_an_optimiser_without_a_proposal_is_no_comparison(tmp_path: Path) -> None:
    searched = trials("validation", 4, tmp_path)
    halve([Candidate(0)], planned(1, 4, 40), searched)
    content = tuned({"optimiser": "dspy:gepa"}, [Candidate(0)], Candidate(0), searched)
    assert content["notes"][0].startswith("dspy:gepa came to no prompt, so that none was compared")
