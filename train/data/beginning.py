"""Whether an episode can begin on cases, looked at before anything is written."""

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.imaging.opened import UnreadableImage
from medgym.unreadable import NAMED

from .order import GoldCases


def begin_first(cases: GoldCases, rules: Rules) -> None:
    """Begin an episode on the first case whose images can be read.

    Raises:
        UserError: the rules do not suit the cases, or none of the first cases can be read.
    """
    said: list[UnreadableImage] = []
    for place in range(min(len(cases), NAMED)):
        case: Case = cases[place]
        try:
            rules.begin(case)
            return
        except UnreadableImage as error:
            said.append(error)
    count = "the" if len(said) == len(cases) else f"the first {len(said)} of {len(cases)}"
    raise UserError(f"none of {count} cases of {cases.spec} can be read: {said[0]}")
