"""BLEU and ROUGE of reports: by the libraries, in the words of the report's language."""

import pytest
from sacrebleu.metrics import BLEU

from medgym.cases import Case
from medgym.evals.scorers.report.by_words import bleu_of, by_words, tokenizer_of


def a_report(gold: str, *accepted: str) -> Case:
    return Case(
        id="a/test/0", images=(), question="?", answer=gold, accepted=accepted, group="g",
        answer_type="report", source="a", split="test",
    )  # fmt: skip


PAIRS = (
    ("The heart is normal in size.", "Heart size is normal."),
    ("No pleural effusion or pneumothorax is seen.", "There is no effusion or pneumothorax."),
    ("There is a 3 cm mass in the right upper lobe.", "A mass is seen in the right upper lobe."),
)


def test_counts_add_up_to_the_bleu_of_the_corpus() -> None:
    each = [by_words(a_report(gold), answer) for gold, answer in PAIRS]
    sums = [sum(column) for column in zip(*(one.counts for one in each), strict=True)]
    whole = BLEU().corpus_score([a for _, a in PAIRS], [[g for g, _ in PAIRS]])
    assert bleu_of(sums, "13a") == pytest.approx(whole.score / 100)
    assert "tok:13a" in each[0].signature
    assert "version:" in each[0].signature


def test_a_report_is_all_of_itself_and_nothing_of_another() -> None:
    for text in ("No effusion is seen here.", "双肺未见异常。", "Tim không to, không tràn dịch."):
        same = by_words(a_report(text), text)
        assert (same.bleu, same.rouge1, same.rouge_l) == pytest.approx((1, 1, 1)), text
        nothing = by_words(a_report(text), "")
        assert (nothing.bleu, nothing.rouge1, nothing.rouge2, nothing.rouge_l) == (0, 0, 0, 0)


def test_the_library_by_itself_finds_nothing_in_a_chinese_report() -> None:
    """The known fault of rouge-score: its tokenizer drops each sign that is not of English."""
    from rouge_score.rouge_scorer import RougeScorer

    text = "双肺未见异常。"
    assert RougeScorer(["rouge1"]).score(text, text)["rouge1"].fmeasure == 0
    assert by_words(a_report(text), text).rouge1 == 1
    assert by_words(a_report(text), "双肺异常。").rouge1 == pytest.approx(2 * 4 / (6 + 4))


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [("en", "13a"), ("zh", "zh"), ("ja", "char"), ("th", "char"), ("vi", "intl"), ("de", "intl")],
)
def test_each_language_has_its_tokenizer(language: str, tokenizer: str) -> None:
    assert tokenizer_of(language) == tokenizer


def test_of_several_golds_the_best_counts() -> None:
    case = a_report("The heart is enlarged.", "Cardiomegaly is present today.")
    assert by_words(case, "Cardiomegaly is present today.").rouge1 == 1
    assert by_words(case, "Cardiomegaly is present today.").bleu == pytest.approx(1)
