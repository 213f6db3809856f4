"""What a search for a prompt has tried and found: `tuned.json`, and the prompt as a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medgym.storage.atomic import write_atomic
from medgym.storage.run_folder import RunFolder

from .grammar import Candidate
from .trials import Trials

FORMAT = 1
RECORD = "tuned.json"
PROMPT = "prompt.txt"
"""The chosen prompt, for `medgym eval --prompt`. There is none where no prompt is the best."""

BIAS = (
    "The accuracy of the chosen prompt is optimistic: it is the best of those that were tried on "
    "these cases. Evaluate it on the test cases before you report a figure."
)
NO_PROPOSAL = (
    "{optimiser} came to no prompt, so that none was compared: what its writer wrote could not be "
    "used, or did no better on the training cases. Name a larger model by --writer."
)
NO_IMAGES = "Worked examples are text: their images are not shown to the policy."


def tuned(
    asked: Mapping[str, Any],
    found: Sequence[Candidate],
    chosen: Candidate,
    trials: Trials,
    training_episodes: int = 0,
) -> dict[str, Any]:
    """The content of `tuned.json`.

    Args:
        asked: what was asked. found: the candidates, the first of them no prompt.
        training_episodes: what an optimiser took before the validation.
    """
    tried = [each for each in found if trials.cases_of(each)]
    gain = None if chosen.number == 0 else trials.gain(found[0], chosen).as_dict()
    notes = [BIAS] if len(found) > 1 else [NO_PROPOSAL.format(**asked)]
    notes += [NO_IMAGES] if any(each.examples for each in tried) else []
    return {
        "format": FORMAT,
        **asked,
        "reading": "lenient" if trials.lenient else "strict",
        "episodes": trials.episodes + training_episodes,
        "training_episodes": training_episodes,
        "chosen": chosen.number,
        "prompt": chosen.prompt,
        "accuracy": trials.accuracy(chosen).as_dict(),
        "without_prompt": trials.accuracy(found[0]).as_dict(),
        "gain": gain,
        "tried": [
            {
                **each.as_dict(),
                "cases": trials.cases_of(each),
                "accuracy": trials.accuracy(each).as_dict(),
            }
            for each in tried
        ],
        "notes": notes,
    }


def write_tuned(folder: RunFolder, content: Mapping[str, Any]) -> Path | None:
    """Write the record and the prompt; the file of the prompt, None where none is the best."""
    folder.write_json(RECORD, content)
    prompt = str(content["prompt"])
    if not prompt:
        return None
    write_atomic(folder.path / PROMPT, f"{prompt}\n".encode())
    return folder.path / PROMPT
