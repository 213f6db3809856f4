"""Which language a report is in, so that none is read by the rules of another."""

import re

from medgym.cases import Case

ENGLISH = "en"

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_KANA = re.compile(r"[\u3040-\u30ff]")
_HANGUL = re.compile(r"[\uac00-\ud7af]")
_THAI = re.compile(r"[\u0e00-\u0e7f]")
_VIETNAMESE = re.compile(r"[ăđơưĂĐƠƯ\u1ea0-\u1ef9]")
"""Letters that Vietnamese has, and hardly any other language."""

_LETTER = re.compile(r"[^\W\d_]")
_LEAST = 0.05
"""The share of a language's own letters from which on a text is in it."""


def language_of(case: Case) -> str:
    """The language of a case's reports, as a code of two letters.

    It is what the case says. English is what a case says that does not know, so its gold must look
    like it: where the letters of Chinese, Japanese, Korean, Thai or Vietnamese stand in it, it is
    that language.
    """
    said = case.language.strip().casefold().replace("_", "-").partition("-")[0]
    if said and said != ENGLISH:
        return said
    return written_in(case.answer)


def written_in(text: str) -> str:
    """The language whose letters a text has; English where it has none of the known ones."""
    letters = len(_LETTER.findall(text))
    if not letters:
        return ENGLISH
    for code, signs in (("ja", _KANA), ("ko", _HANGUL), ("th", _THAI), ("zh", _HAN)):
        if len(signs.findall(text)) / letters >= _LEAST:
            return code
    return "vi" if len(_VIETNAMESE.findall(text)) / letters >= _LEAST else ENGLISH
