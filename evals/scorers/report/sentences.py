"""The sentences of a report, without its headings."""

import re
import unicodedata
from collections.abc import Iterator

_END = re.compile(
    r"(?<=[.!?])\s+|\n+|(?<=[。！？])|(?<=[\u3400-\u9fff][;!?])|(?<=[^\d]\.)(?=[A-Z])"
)
_HEADING = re.compile(
    r"(?:findings?|impressions?|conclusions?|opinions?|results?|reports?|comparisons?|techniques?"
    r"|exam(?:ination)?|procedure|summary|影像所见|影像表现|所见|诊断意见"
    r"|印象|结论|mô tả|kết luận|nhận xét)"
    r"(?:\s+and\s+(?:impressions?|findings?))?\s*[:：]\s*",
    re.IGNORECASE,
)
_BULLET = re.compile(r"(?:[-*•·–]|\(?\d{1,2}[.)])\s+")
_NUMBER = re.compile(r"\(?\d{1,2}[.)]?")
_EMPHASIS = re.compile(r"\*\*|__|`|^#+\s*", re.MULTILINE)


def sentences(text: str) -> Iterator[str]:
    """The sentences of a report, each on one line; headings and signs of lists are left out.

    A decimal point ends no sentence, nor does a semicolon of Latin script: what stands behind it is
    still about the same organ.
    """
    text = _EMPHASIS.sub("", unicodedata.normalize("NFKC", text))
    for part in _END.split(text):
        said = re.sub(r"\s+", " ", part).strip()
        said = _BULLET.sub("", said, count=1) if _BULLET.match(said) else said
        said = _HEADING.sub("", said, count=1) if _HEADING.match(said) else said
        said = said.strip(" .。!！;；")
        if said and not _NUMBER.fullmatch(said):
            yield said
