"""The rules of the question `stage`: each gives lesions a stage, and no two splits share a rule.

A rule is two words, such as Kestrel Amber. Every word is in rules of all splits, and the stage of a
rule is drawn at random: who has read all rules of one split knows nothing of those of another. What
a rule says is only in `PASSAGES`, which the tool `retrieve` searches as `phantom-rules`.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

from medgym.seeds import seed_of
from medgym.sources.phantom.lesions import shuffled
from medgym.sources.phantom.rng import RandomStream

PASSAGES = Path(__file__).with_name("rules.jsonl")
"""The passages that say what the rules say, one a line; `passages` makes them."""

FIRST_WORDS = (
    "Avocet", "Bittern", "Buzzard", "Cormorant", "Curlew", "Dotterel", "Dunlin", "Fulmar",
    "Gannet", "Godwit", "Harrier", "Heron", "Kestrel", "Lapwing", "Linnet", "Magpie", "Merlin",
    "Nuthatch", "Osprey", "Plover",
)  # fmt: skip
SECOND_WORDS = (
    "Amber", "Basalt", "Cobalt", "Copper", "Garnet", "Granite", "Indigo", "Ivory", "Jasper",
    "Marble", "Ochre", "Onyx", "Opal", "Pearl", "Quartz", "Slate",
)  # fmt: skip

RULE_STAGES = ("stage I", "stage II", "stage III", "stage IV")

SHARES = {"train": 224, "validation": 48, "test": 48}
"""How many rules each split has; a multiple of the number of stages."""


@dataclass(frozen=True)
class Rule:
    """A rule: its two words, and the stage that it gives to every lesion."""

    words: tuple[str, str]
    stage: str

    @property
    def name(self) -> str:
        """The two words."""
        return " ".join(self.words)


@cache
def rules_of(split: str) -> tuple[Rule, ...]:
    """The rules of a split. Each stage is that of equally many."""
    names = shuffled(
        tuple(product(FIRST_WORDS, SECOND_WORDS)), RandomStream(seed_of("phantom rules"))
    )
    first = sum(list(SHARES.values())[: list(SHARES).index(split)])
    own = names[first : first + SHARES[split]]
    return tuple(
        Rule(words, RULE_STAGES[place % len(RULE_STAGES)]) for place, words in enumerate(own)
    )


@cache
def rules_with(split: str, stage: str) -> tuple[Rule, ...]:
    """The rules of a split that give this stage."""
    return tuple(rule for rule in rules_of(split) if rule.stage == stage)


def passages() -> list[dict[str, str]]:
    """What `PASSAGES` holds, sorted by name, so that the order tells no split."""
    rules = sorted(
        (rule for split in SHARES for rule in rules_of(split)), key=lambda rule: rule.name
    )
    return [
        {
            "id": f"rules/{rule.name.lower().replace(' ', '-')}",
            "title": f"Rule {rule.name}",
            "text": f"every lesion is of {rule.stage}.",
        }
        for rule in rules
    ]
