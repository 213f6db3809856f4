"""Rows in a file of Arrow's, and whether the texts of a column all differ."""

import pyarrow
from hypothesis import example, given
from hypothesis import strategies as st

from medgym.sources.arrow_rows import are_hashes_different

TEXTS = st.lists(st.text(alphabet="ab\0é0", max_size=4), max_size=30)


@given(texts=TEXTS, cut=st.integers(0, 30))
@example(["", "\0", "\0\0"], 1)
@example(["a", "b", "a"], 2)
def test_texts_that_differ_have_other_hashes_and_equal_ones_never(
    texts: list[str], cut: int
) -> None:
    """Short texts have no two hashes alike, so here the answer is that of a set."""
    whole = pyarrow.array([*texts, "beyond"], pyarrow.string())
    chunks = [whole.slice(0, min(cut, len(texts))), whole.slice(cut, max(len(texts) - cut, 0))]
    assert are_hashes_different(chunks) == (len(set(texts)) == len(texts))


def test_a_thousand_ids_differ_across_chunks_and_one_that_stands_twice_is_seen() -> None:
    ids = [f"case-{number}" for number in range(1000)]
    chunks = [pyarrow.array(ids[:300]), pyarrow.array(ids[300:])]
    assert are_hashes_different(chunks)
    assert not are_hashes_different([*chunks, pyarrow.array(["case-7"])])
    assert are_hashes_different([])
