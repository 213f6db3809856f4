"""Questions in other words: by rules that keep the meaning, or from a file of the user's.

The rules are our own, for English and Chinese. Where none fits, a question has no paraphrase: a
rule that is not sure to keep the meaning would measure something else.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from medgym.cases import Case, normalised
from medgym.errors import UserError
from medgym.files import read_text

_SHOWS = r"(?P<image>(?:the|this|these) (?:image|picture|scan|figure|slide)s?)"
_WHERE = r"(?P<where>(?: (?:in|on) (?:the|this) (?:image|picture|scan|figure|slide))?)"

_SEEN = r"(?: (?:present|seen|visible|shown|noted|found|evident|identified|detected))?"

_RULES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": (
        (rf"how many (?P<what>[^?]+?) are there{_WHERE}", "What is the number of {what}{where}?"),
        (rf"where (?:is|are) (?P<what>[^?]+?)(?: located)?{_WHERE}",
         "What is the location of {what}{where}?"),
        (rf"(?:is|are) there (?P<what>[^?]+?){_SEEN}{_WHERE}", "Can {what} be seen{where}?"),
        (rf"(?:does|do) {_SHOWS} (?:show|contain) (?P<what>[^?]+)",
         "Can {what} be seen in {image}?"),
        (rf"what (?:is|are) (?:shown|seen|visible){_WHERE}", "What can be seen{where}?"),
        (r"how long is (?P<what>[^?]+)", "What is the length of {what}?"),
        (r"how (?:large|big) is (?P<what>[^?]+)", "What is the size of {what}?"),
        (r"how wide is (?P<what>[^?]+)", "What is the width of {what}?"),
        (r"in which (?P<what>[^?]+)", "In what {what}?"),
        (r"in what (?P<what>[^?]+)", "In which {what}?"),
        (r"which (?!of |is |are |was |were |ones? )(?P<what>[^?]+)", "What {what}?"),
        (r"what (?P<what>(?:type|kind|modality|plane|organ|part|side|colou?r)\b[^?]+)",
         "Which {what}?"),
    ),
    "zh": (
        (r"(?P<before>[^?？]*?)有没有(?P<what>[^?？]+?)", "{before}是否有{what}？"),
        (r"(?P<before>[^?？]*?)(?<![没是])有(?P<what>[^?？]+?)吗", "{before}是否有{what}？"),
        (r"(?P<before>[^?？]*?)(?<!不)是(?P<what>[^?？]+?)吗", "{before}是不是{what}？"),
        (r"(?P<what>[^?？]+?)在(?:哪里|哪儿|什么位置)", "{what}位于何处？"),
    ),
}  # fmt: skip
"""For each language what a whole question may look like, and the same in other words."""

_UNSURE: Mapping[str, re.Pattern[str]] = {
    "en": re.compile(
        r"\b(?:no|not|none|never|neither|nor|without|except|or|only|more|less|fewer|other|than|same|"
        r"and (?:what|where|which|who|how|is|are))\b|n't\b|,|[{}]"
        r"|^\W*where (?:is|are) (?:it|this|that|they|these|those|the image)\b"
        r"|\b(?:is|are) there (?:an?\W*$|still\b|nothing\b)|\bwhere (?:is|are) there\b"
        r"|\b(?:hardly|barely|few|little|lack|absence|absent|reason|need|enough|that|whether)\b"
        r"|^\W*where\b.*\b(?!located\b)(?:\w+ed|seen|found|shown|taken|present|visible)\b"
        r"|^\W*which (?:can|could|does|do|did|has|have|had|will|would|shows?)\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"不|未|无|非|否|还|而|只|所有|具有|含有|带有|拥有|(?<!有)没|没(?!有)|没有没|[{}]"
    ),
}
"""What a question must not have: a negation, a choice, a comparison, a second question, a clause,
or a word that the rules would cut in two. There other words could mean something else."""

LANGUAGES = tuple(_RULES)


def paraphrase(case: Case, given: Mapping[str, str] | None = None) -> str | None:
    """The question in other words; None where there are none.

    Args:
        given: of a file of paraphrases, by id or by question. Then no rule is used.
    """
    if given is not None:
        found = given.get(case.id) or given.get(normalised(case.question))
        return None if found is None or found.strip() == case.question.strip() else found
    question = case.question.strip()
    unsure = _UNSURE.get(case.language)
    if unsure is not None and unsure.search(question):
        return None
    for pattern, words in _RULES.get(case.language, ()):
        match = re.fullmatch(rf"(?:{pattern})\s*[?？]?", question, re.IGNORECASE)
        if match is not None:
            return words.format(**match.groupdict())
    return None


def read_paraphrases(path: Path) -> dict[str, str]:
    """What a file of JSON lines has, by the id of a case or by its question:
    `{"question": "Is there a lesion?", "paraphrase": "Can a lesion be seen?"}`.

    Raises:
        UserError: it cannot be read, or a line has another form.
    """
    try:
        text = read_text(path, "file of paraphrases")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the paraphrases in {path} ({error}); fix: check it") from (
            error
        )
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        key, words = _pair(row) if isinstance(row, dict) else ("", "")
        if not key or not words:
            raise UserError(
                f"{path}, line {number} is no paraphrase; fix: write one JSON object a line, with "
                '"paraphrase" and either "id" or "question"'
            )
        found[key] = words
    return found


def _pair(row: Mapping[str, object]) -> tuple[str, str]:
    """The key and the paraphrase of a row, empty where it has none."""
    words, name, question = (row.get(key) for key in ("paraphrase", "id", "question"))
    key = name if isinstance(name, str) and name else None
    if key is None and isinstance(question, str):
        key = normalised(question)
    return key or "", words.strip() if isinstance(words, str) else ""
