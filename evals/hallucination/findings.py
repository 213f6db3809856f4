"""Which finding a closed question asks for, such as pneumothorax in "Is there a pneumothorax?"."""

import re

from medgym.cases import Case, normalised

_IMAGE = (
    r"(?:image|picture|scan|film|figure|slide|photo(?:graph)?|x-?ray|radiograph|cxr|ct|mri?|"
    r"ultrasound)"
)
_HERE = rf"(?:\s+(?:in|on|from|by|here in)\s+(?:the|this|these)\s+(?:[\w-]+\s+)?{_IMAGE}s?)?"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"(?:is|are) there (?P<finding>.+?)(?: (?:present|seen|visible|shown))?{_HERE}\s*\?*",
        rf"(?:does|do) (?:the|this|these) {_IMAGE}s? (?:show|contain) (?P<finding>.+?)\s*\?*",
        rf"(?:is|are) (?P<finding>.+?) (?:present|seen|visible|shown|found){_HERE}\s*\?*",
    )
)
_ARTICLES = re.compile(
    r"^(?:(?:any|an?|the|some|signs? of|evidence of|presence of|obvious|visible)\s+)+", re.I
)
_OTHER = re.compile(
    r"\b(?:more|less|than|other|same|both|this|these|that|those|which|any|only|all|or|and|normal|"
    r"abnormal|abnormality|abnormalities|disease|anything|something|it|left|right|where|"
    r"no|not|none|nothing|never|without|absence|lack|still|enough|adequate|good|change|changes|new|"
    r"old|acute|chronic|large|small|big|massive|tiny|mild|moderate|severe|significant|increased|"
    r"decreased|multiple|several|many|few|single|one|two|three|bilateral|unilateral)\b",
    re.I,
)
"""What is no finding by itself, negates, or says of a finding which one is meant: that there is no
large effusion does not say that there is none."""

MOST_WORDS = 4


def finding_asked(case: Case) -> str | None:
    """The finding of which a closed question asks whether it is there; None for other questions.

    The question is in English, its answer is yes or no, and the finding is a name of at most
    `MOST_WORDS` words: no comparison, no side, size, number or course, no negation, nothing as
    general as a disease.
    """
    if case.options or case.language != "en" or normalised(case.answer) not in ("yes", "no"):
        return None
    question = " ".join(case.question.split())
    for form in _FORMS:
        found = form.fullmatch(question)
        if found is None:
            continue
        name = normalised(_ARTICLES.sub("", found["finding"]))
        if name and len(name.split()) <= MOST_WORDS and not _OTHER.search(name):
            return name
        return None
    return None
