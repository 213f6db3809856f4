"""What papers report on the data sets of the suites, in percent.

Each figure is by its paper's own prompts, scorer and selection of cases, and none of these is ours:
they are printed to be looked at, never compared with. A source with `second-hand` was read in
somebody's notes, not in the paper.
"""

from collections.abc import Mapping

from medgym.suite import PublishedFigure

_MEDVISTAGYM = "arXiv 2601.07107, second-hand"
_MMEDAGENT_RL = "arXiv 2506.00555, second-hand"
_OPHIUCHUS = "arXiv 2512.14157, second-hand"
_MEISSA = "arXiv 2603.09018"
_MEDEYES = "arXiv 2511.22018"
_CARE = "arXiv 2603.01607"
_HEALTHCARE_GYM = "arXiv 2605.02943"
_DEEPTUMORVQA = "arXiv 2605.09679, leaderboard"

# fmt: off
ROWS: tuple[tuple[str, str, Mapping[str, float]], ...] = (
    ("MedVistaGym-R1-8B", _MEDVISTAGYM,
     {"vqa-rad": 70.75, "slake": 81.36, "path-vqa": 69, "pmc-vqa": 58, "mmmu-med": 56.43}),
    ("GPT-4o", _MMEDAGENT_RL,
     {"vqa-rad": 61.0, "slake": 75.5, "path-vqa": 69.4, "omnimedvqa": 68.5, "mmmu-med": 69.7}),
    ("Qwen2.5-VL-7B", _MMEDAGENT_RL,
     {"vqa-rad": 61.8, "slake": 64.7, "path-vqa": 60.5, "omnimedvqa": 60.8, "mmmu-med": 56.6}),
    ("MedVLThinker-7B", _MMEDAGENT_RL,
     {"vqa-rad": 63.7, "slake": 67.8, "path-vqa": 65.2, "omnimedvqa": 62.4, "mmmu-med": 57.0}),
    ("MDAgents", _MMEDAGENT_RL,
     {"vqa-rad": 66.8, "slake": 68.2, "path-vqa": 65.4, "omnimedvqa": 58.2, "mmmu-med": 52.3}),
    ("MMedAgent-RL-7B", _MMEDAGENT_RL,
     {"vqa-rad": 71.5, "slake": 76.2, "path-vqa": 72.3, "omnimedvqa": 73.3, "mmmu-med": 71.9}),
    ("MMedAgent-RL-7B, vote", _MMEDAGENT_RL,
     {"vqa-rad": 73.9, "slake": 80.1, "path-vqa": 74.3, "omnimedvqa": 79.6, "mmmu-med": 73.5}),
    ("Ophiuchus", _OPHIUCHUS,
     {"vqa-rad": 73.6, "slake": 83.9, "path-vqa": 74.3, "omnimedvqa": 78.6,
      "medxpertqa-mm": 39.3}),
    ("Meissa-4B", _MEISSA,
     {"vqa-rad": 70.1, "slake": 82.0, "path-vqa": 78.2, "omnimedvqa": 82.8,
      "medxpertqa-mm": 36.0, "chestagentbench": 62.8}),
    ("MedEyes-3B", _MEDEYES,
     {"vqa-rad": 70.7, "slake": 79.1, "path-vqa": 64.8, "pmc-vqa": 55.3}),
    ("CARE", _CARE, {"vqa-rad": 68.29, "slake": 83.11, "vqa-med-2019": 60.80}),
    ("BIOAgents TT-OPD", _HEALTHCARE_GYM,
     {"vqa-rad": 63.1, "slake": 32.1, "path-vqa": 45.3, "pmc-vqa": 38.9}),
    ("Meissa-4B, tuned, no tools", _DEEPTUMORVQA, {"deeptumorvqa": 66.3}),
    ("Qwen3-VL-4B, tuned", _DEEPTUMORVQA, {"deeptumorvqa": 64.6}),
    ("Meissa SFT, oracle tools", _DEEPTUMORVQA, {"deeptumorvqa": 63.8}),
    ("Meissa SFT, predicted tools", _DEEPTUMORVQA, {"deeptumorvqa": 60.9}),
    ("Gemini-3-Flash, no tools", _DEEPTUMORVQA, {"deeptumorvqa": 38.8}),
    ("Gemini-3-Flash, vision tools", _DEEPTUMORVQA, {"deeptumorvqa": 35.3}),
    ("Qwen3-VL-4B", _DEEPTUMORVQA, {"deeptumorvqa": 37.8}),
    ("MedGemma-4B", _DEEPTUMORVQA, {"deeptumorvqa": 30.8}),
)
# fmt: on


def published(sets: Mapping[str, str]) -> tuple[PublishedFigure, ...]:
    """The figures on some data sets.

    Args:
        sets: for each benchmark of a suite the data set that it is of.
    """
    return tuple(
        PublishedFigure(name, benchmark, round(figures[data_set] / 100, 4), source)
        for name, source, figures in ROWS
        for benchmark, data_set in sets.items()
        if data_set in figures
    )
