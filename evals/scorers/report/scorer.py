"""A report is right where it states what the gold states, and nothing else, in the same details.

The statements of a report in English are its triplets (see `triplets`), and the text of each
sentence of which no triplet could be read. In any other language every sentence is one statement by
its text: no rule for English reads it. Headings, signs of lists and the order of sentences do not
count.

The score, from 0 to 1, is the F1 of the statements: what share of the gold's the report makes, and
what share of its own the gold makes. So each sentence too many costs something, and a list of all
findings earns no more than its share of right ones. A report that says of one finding both that it
is there and that it is not has neither right.

Right is only a report of which the F1 is 1, and whose other words, among them each size and each
degree, are the gold's too: a mass of 4 cm is not one of 3 cm. Where only these differ, they count
as one statement more that the two do not share. That is strict, and no threshold of
F1 would be safer: a constant report on a normal study has most statements of any other normal one.
So the accuracy of reports is low by nature, and it is F1 that tells policies apart.
"""

from medgym.cases import Case, normalised
from medgym.scorer import RIGHT, UNPARSED, Grade

from .language import ENGLISH, language_of
from .sentences import sentences
from .triplets import Read, Triplet, read


class Report:
    """Right where a report makes a gold's statements and no other; the score is their F1."""

    version = "5"

    def __call__(self, case: Case, answer: str) -> Grade:
        """Compare the statements; of several golds the best one counts. No text is unparsed."""
        given = normalised(answer)
        if not given:
            return UNPARSED
        if any(given == normalised(gold) for gold in case.golds):
            return RIGHT
        language = language_of(case)
        said = _read(answer, language)
        grades = [_compared(said, _read(gold, language)) for gold in case.golds]
        return max(grades, key=lambda grade: (grade.right, grade.score))


class SharedStatements(tuple[int, int, int]):
    """How many statements are in both reports, in the answer, and in the gold."""

    @property
    def precision(self) -> float:
        """The share of the answer's statements that the gold makes."""
        return self[0] / self[1] if self[1] else 0.0

    @property
    def recall(self) -> float:
        """The share of the gold's statements that the answer makes."""
        return self[0] / self[2] if self[2] else 0.0

    @property
    def f1(self) -> float:
        """Their harmonic mean."""
        return 2 * self[0] / (self[1] + self[2]) if self[1] + self[2] else 0.0


def shared_triplets(answer: Read, gold: Read) -> SharedStatements:
    """The triplets that two reports share. One that a report contradicts itself is in neither."""
    both = set(_consistent(answer.triplets)) & set(_consistent(gold.triplets))
    return SharedStatements((len(both), len(answer.triplets), len(gold.triplets)))


def _consistent(triplets: tuple[Triplet, ...]) -> list[Triplet]:
    said: dict[tuple[str, str], set[str]] = {}
    for anatomy, finding, presence in triplets:
        said.setdefault((anatomy, finding), set()).add(presence)
    return [each for each in triplets if len(said[each.anatomy, each.finding]) == 1]


def _read(text: str, language: str) -> Read:
    if language == ENGLISH:
        return read(text)
    return Read((), tuple(dict.fromkeys(map(normalised, sentences(text)))), frozenset())


def _compared(answer: Read, gold: Read) -> Grade:
    triplets = shared_triplets(answer, gold)
    unread = len(set(answer.unread) & set(gold.unread))
    shared = triplets[0] + unread
    said, wanted = triplets[1] + len(answer.unread), triplets[2] + len(gold.unread)
    if not 0 < shared == said == wanted:
        return Grade(SharedStatements((shared, said, wanted)).f1, "wrong")
    if answer.rest == gold.rest:
        return RIGHT
    return Grade(SharedStatements((shared, said + 1, wanted + 1)).f1, "wrong")
