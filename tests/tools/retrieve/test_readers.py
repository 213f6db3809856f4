"""What an index is built of: each form is read, and what is wrong in it is named with its line."""

import gzip
from pathlib import Path

import pytest

from medgym.errors import UserError
from medgym.tools.retrieve.documents import MAX_PASSAGE
from medgym.tools.retrieve.readers.corpora import CorpusEntry, corpora_of

ARTICLE = """<PubmedArticle><MedlineCitation><PMID Version="1">{pmid}</PMID>
<Article><ArticleTitle>Air in the <i>pleura</i> &amp; more</ArticleTitle>
<Abstract><AbstractText Label="AIM">To look.</AbstractText>
<AbstractText>It was <b>seen</b>.</AbstractText></Abstract></Article>
<CommentsCorrectionsList><CommentsCorrections><PMID>999</PMID></CommentsCorrections>
</CommentsCorrectionsList>
<OtherAbstract><AbstractText>Vu.</AbstractText></OtherAbstract></MedlineCitation></PubmedArticle>"""
HEAD = '<?xml version="1.0"?>\n<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD" "pubmed.dtd">\n'


def read(path: Path, text: str | bytes) -> list[CorpusEntry]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(corpora_of([str(path)])[0].entries())


def test_markdown_is_a_passage_for_each_block(tmp_path: Path) -> None:
    text = (
        "---\ntitle: no passage\n---\nbefore all\n\nTop\n===\none\ntwo\n\n- a\n- b\n\n"
        "## Deep #\n```\n# no heading\n\ncode\n```\n\n---\n# Next\nlast"
    )
    found = read(tmp_path / "a.md", text)
    assert [each.text for each in found] == [
        "before all", "Top: one two", "Top: - a - b", "Top > Deep: # no heading code", "Next: last",
    ]  # fmt: skip
    assert [each.id for each in found] == [f"a.md#{n}" for n in range(1, 6)]
    assert found[1].where.endswith("a.md, line 8")


def test_a_long_passage_becomes_several_and_loses_nothing(tmp_path: Path) -> None:
    words = " ".join(f"word{n}." if n % 9 == 0 else f"word{n}" for n in range(400))
    found = read(tmp_path / "a.md", f"# Title\n\n{words}\n\n{'x' * 2000}")
    assert all(len(each.text) <= MAX_PASSAGE for each in found)
    assert len({each.id for each in found}) == len(found) > 6
    joined = " ".join(each.text.removeprefix("Title: ") for each in found)
    assert joined.replace(" ", "") == words.replace(" ", "") + "x" * 2000


def test_pubmed_is_a_passage_for_each_article(tmp_path: Path) -> None:
    text = f"{HEAD}<PubmedArticleSet>{ARTICLE.format(pmid=7)}{ARTICLE.format(pmid=8)}"
    text += "</PubmedArticleSet>"
    plain = read(tmp_path / "a.xml", text)
    assert [each.id for each in plain] == ["pmid/7", "pmid/8"]
    assert plain[0].text == "Air in the pleura & more: AIM: To look. It was seen."
    packed = read(tmp_path / "b.xml.gz", gzip.compress(text.encode()))
    assert [each.text for each in packed] == [each.text for each in plain]


BOMB = """<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<PubmedArticleSet><PubmedArticle>&b;</PubmedArticle></PubmedArticleSet>"""
OUTSIDE = """<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><PubmedArticleSet/>"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, r"a\.xml, line 2: it declares the entity 'a'"),
        (OUTSIDE, r"a\.xml, line 2: it declares the entity 'x'"),
        ("<PubmedArticleSet>\n<PubmedArticle>", r"a\.xml, line 2: no XML: no element found"),
        ("<PubmedArticleSet>\n<a></b>", r"a\.xml, line 2: no XML: mismatched tag"),
        (
            f"<PubmedArticleSet>\n{ARTICLE.format(pmid='')}</PubmedArticleSet>",
            r"a\.xml, line 2: an article without a PMID",
        ),
        (HEAD + ARTICLE.format(pmid=1).replace("amp", "nbsp"), "the entity 'nbsp' is not known"),
        ('<?xml version="1.0" encoding="klingon"?><a/>', "fix: save the file as UTF-8"),
        ("<a>" + ARTICLE.format(pmid=1).replace("seen", "x" * 300_000) + "</a>", "more than"),
    ],
)
def test_bad_xml_is_named_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        read(tmp_path / "a.xml", text)


def test_other_bad_files_are_named_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.md, line 2: no UTF-8 at byte 0"):
        read(tmp_path / "a.md", b"one\n\xff\xfe")
    with pytest.raises(UserError, match=r"a\.jsonl, line 2: titel"):
        read(tmp_path / "a.jsonl", '{"id": "a", "text": "b"}\n{"id": "c", "text": "d", "titel": 1}')
    with pytest.raises(UserError, match="is damaged"):
        read(tmp_path / "a.xml.gz", gzip.compress(b"<a>" + b"x" * 5000)[:-30])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no \.md"):
        corpora_of([str(tmp_path / "empty")])


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (line,) = read(tmp_path / "a.jsonl", '\ufeff{"id": "a", "text": "b"}\n')
    (block,) = read(tmp_path / "a.md", "\ufeff# Title\n\ntext")
    assert (line.text, block.text) == ("b", "Title: text")


def test_a_folder_is_all_files_in_it(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.md", "in/a.md", "in/notes.txt"):
        (tmp_path / name).write_text(f"text of {name}")
    found = [each for corpus in corpora_of([str(tmp_path)]) for each in corpus.entries()]
    assert [each.id for each in found] == ["a.md#1", "in/a.md#1"]
