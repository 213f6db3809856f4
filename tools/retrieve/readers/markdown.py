"""Passages of a Markdown file: one for each block of text, titled by the headings above it."""

import re
from collections.abc import Iterable, Iterator

_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.*?)(?:\s+#+)?\s*")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)\s*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_RULE = re.compile(r" {0,3}([-*_])(?:\s*\1){2,}\s*")


def markdown_blocks(lines: Iterable[str]) -> Iterator[tuple[int, str, str]]:
    """The blocks of text: the line at which one begins, the headings above it, the text.

    Blocks are separated by empty lines. A fenced block is one block. A YAML header is left out.
    """
    headings: list[tuple[int, str]] = []
    block: list[str] = []
    start, fence, in_header = 1, "", False

    def done() -> Iterator[tuple[int, str, str]]:
        text = " ".join(" ".join(block).split())
        if text:
            yield start, " > ".join(title for _, title in headings), text
        block.clear()

    def enter(level: int, title: str) -> None:
        while headings and headings[-1][0] >= level:
            headings.pop()
        headings.append((level, title))

    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\r\n")
        if number == 1 and line == "---":
            in_header = True
            continue
        if in_header:
            in_header = line not in ("---", "...")
            continue
        if not block:
            start = number
        opened = _FENCE.match(line)
        if fence:
            closes = opened is not None and line.strip().startswith(fence)
            fence = "" if closes else fence
            if not closes:
                block.append(line)
            continue
        if opened:
            fence = opened[1]
            continue
        heading = _HEADING.fullmatch(line)
        underline = _UNDERLINE.fullmatch(line)
        if heading:
            yield from done()
            enter(len(heading[1]), heading[2])
        elif underline and len(block) == 1:
            title = block.pop().strip()
            enter(1 if underline[1][0] == "=" else 2, title)
        elif not line.strip() or _RULE.fullmatch(line):
            yield from done()
        else:
            block.append(line)
    yield from done()
