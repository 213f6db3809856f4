"""The rules of published harnesses by name: `legacy:NAME` of `medgym score RUN --scorer`.

They are no plug-ins: no case names them, so that no reward and no accuracy of medgym's can come
from one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from medgym.errors import UserError, unknown

from .answered import Answered
from .deeptumorvqa import deeptumorvqa
from .llava_med import llava_med
from .medevalkit import medevalkit

PREFIX = "legacy:"


@dataclass(frozen=True)
class LegacyRule:
    """What a harness counts.

    Attributes:
        about: which harness, and at which commit its rule was read.
        figures: the figures that it prints for answers of one benchmark.
    """

    about: str
    figures: Callable[[Sequence[Answered]], Mapping[str, float]]


RULES = {
    "llava-med": LegacyRule("LLaVA-Med 1.0, run_eval.py at b9a98a7", llava_med),
    "deeptumorvqa": LegacyRule("DeepTumorVQA, eval/metrics.py at 7c15c50", deeptumorvqa),
    "medevalkit": LegacyRule("MedEvalKit at 9b12e3b", medevalkit),
}


def legacy_rule(name: str) -> LegacyRule:
    """The rule that `legacy:NAME` names.

    Raises:
        UserError: there is none.
    """
    if not name.startswith(PREFIX):
        *first, last = (f"{PREFIX}{each}" for each in RULES)
        known = f"{', '.join(first)} or {last}"
        raise UserError(
            f"--scorer {name!r} is no rule of a published harness; fix: write {known}, or omit it: "
            "medgym's own verdicts are always there"
        )
    rule = name.removeprefix(PREFIX)
    if rule not in RULES:
        raise unknown("legacy scorer", rule, RULES)
    return RULES[rule]
