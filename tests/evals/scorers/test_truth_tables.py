"""Truth tables of the scorers: at least 150 answers each, with what public bug reports are about.

The answers are what a policy wrote between its tags, read by the strict rule of rewards. Those of
reports and of regions have folders of their own.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations

import pytest

from medgym.case import option_of
from medgym.cases import AnswerType, Case
from medgym.errors import UserError
from medgym.scorable import unscorable
from medgym.scorer import check_gold, grade

Row = tuple[AnswerType, tuple[str, ...], Mapping[str, Sequence[str]]]
"""A type, the gold and the accepted answers, and for each verdict the answers that get it."""


def a_case(kind: AnswerType, golds: Sequence[str], **other: object) -> Case:
    return Case.model_validate(
        {
            "id": "a/test/0", "images": (), "question": "?", "answer": golds[0],
            "accepted": tuple(golds[1:]), "answer_type": kind, "group": "g", "source": "a",
            "split": "test", **other,
        }
    )  # fmt: skip


DRESSES: tuple[Callable[[str], str], ...] = (
    lambda text: text,
    lambda text: text.upper(),
    lambda text: text.lower(),
    lambda text: text.capitalize(),
    lambda text: f"{text}.",
    lambda text: f"{text}。",
    lambda text: f" {text} ",
    lambda text: f"\n{text}\n",
    lambda text: f"\t{text} .",
    lambda text: f"\u3000{text}...",
)
"""What never counts: case, white space around, full stops at the end."""

BLANK = ("", " ", ".", " . ", "。", "\n\t", "...", "\u3000")

PARAGRAPH = (
    "Yes, no. The image shows a normal chest with no effusion on the left or right, a mass, "
    "pneumonia, 4 cm, liver, heart, axial, MRI, CT."
)


def dressed(*texts: str) -> list[str]:
    return [dress(text) for text in texts for dress in DRESSES]


def text_row(kind: AnswerType, golds: tuple[str, ...], wrong: Sequence[str]) -> Row:
    """A gold text in all its dresses, what is near it, and what is nothing."""
    around = [f"the {golds[0]}", f"{golds[0]} {golds[0]}", f"not {golds[0]}", f"{golds[0]} or not",
              f"<{golds[0]}>", f"**{golds[0]}**", f"{golds[0]}!", f"{golds[0]}?", f"{golds[0]},",
              PARAGRAPH, f"{PARAGRAPH} {golds[0]}"]  # fmt: skip
    return (
        kind,
        golds,
        {
            "right": dressed(*golds),
            "wrong": [*around, *wrong],
            "unparsed": BLANK,
        },
    )


CLOSED = [
    text_row("closed", ("no",), ["normal", "notice", "not seen", "No, there is.", "none", "n",
                                 "yes",
                                 "nodule", "unknown", "yes/no", "no no", "No; yes", "0", "false"]),
    text_row("closed", ("Yes",), ["no", "yes it is", "y", "eyes", "Yes, it is not normal", "true",
                                  "yeah", "yes no", "yes, no", "1", "maybe"]),
    text_row("closed", ("是的", "是"), ["不是", "是不是", "对", "yes", "有"]),
    text_row("closed", ("不包含",), ["包含", "不", "不是", "没有", "no"]),
    text_row("closed", ("Left",), ["right", "left lung", "left and right", "both", "l"]),
    text_row("closed", ("MRI",), ["MR", "mri scan", "CT", "MRI/CT"]),
    text_row("closed", ("one",), ["1", "two", "none", "someone"]),
]  # fmt: skip
OPEN = [
    text_row("open", ("pleural effusion",), ["effusion", "pleural", "effusion pleural", "effusions",
                                             "There is a pleural effusion",
                                             "left pleural effusion"]),
    text_row("open", ("a", "b"), ["a#b", "ab", "c", "a, b", "a or b"]),  # VQA-Med 2019's a#b
    text_row("open", ("None",), ["nothing", "no", "nan", "null", "N/A", "non"]),
    text_row("open", ("C",), ["A", "B", "3", "(C)", "option C", "CC"]),
    text_row("open", ("2",), ["two", "B", "2.0", "02", "2 of 3", "22"]),
    text_row("open", ("X-ray", "radiograph"), ["x ray", "xray", "ray", "x", "CT"]),
    text_row("open", ("右肺",), ["右", "肺", "左肺", "右肺和左肺", "right lung"]),
    text_row("open", ("t2 weighted",), ["t2", "weighted", "t1 weighted", "t2-weighted"]),
]  # fmt: skip
NUMBER: list[Row] = [
    ("number", ("4",), {
        "right": ["4", "4.0", "4.", " 4 ", "+4", "04", "4e0", "4.00", "4。", "0.4e1", "４", "40e-1",
                  "4...", "\n4"],
        "wrong": ["5", "-4", "−4", "–4", "4.1", "40", "0.4", "4 cm", "4 lesions", "3.999", "4 of 5",
                  "4 or 5", "44", "0", "4th", "4 (four)", "4%"],
        "unparsed": [*BLANK, "four", "about 4", "4, 5", "4-5", "4–5", "4 − 5", "4/5", "4 / 5", "~4",
                     ">4", "≥ 4", "4;5", "4 5", "4:5", "4^2", "4*1", "4=4", "4+0", "nan", "inf",
                     "1e999", "-", "4.0.0", "1,000", "IV", "½", "$4", "answer: 4", "(4)", "[4]",
                     "**4**", "4,0", "4_0", "± 4", "4 ± 1", "none", "--4", PARAGRAPH],
    }),
    ("number", ("5 cm",), {
        "right": ["5", "5 cm", "5cm", "5.0 cm", "5 CM", "5 cm.", " 5  cm ", "5.00cm", "+5 cm",
                  "５cm", "5e0 cm", "5。", "05 cm", "50 mm", "0.05 m", "5 centimetres", "5 ｃｍ",
                  "50.0 millimeters", "50000 µm", "5 centimeter"],
        "wrong": ["5 mm", "5 m", "5 cm2", "5 c m", "4 cm", "-5 cm", "5 cm cm", "5 cm or 6 cm",
                  "5 %", "50", "50 cm", "5 ml", "5 inches", "0.5 m", "51 mm", "50 mm or 60 mm"],
        "unparsed": ["cm", "cm 5", "five cm", "about 5 cm", "5-6 cm", "5–6 cm",
                     "5/6 cm", "< 5 cm", "5,0 cm"],
    }),
    ("number", ("-3",), {
        "right": ["-3", "-3.0", "−3", "–3", "—3", "-3.", "－3", "‑3", "-03", "-3e0"],
        "wrong": ["3", "+3", "-30", "-3 mm", "-2", "0"],
        "unparsed": ["minus 3", "- 3", "--3", "3-", "−", "(-3)"],
    }),
    ("number", ("40 %", "0.4"), {
        "right": ["40", "40%", "40 %", "40.0%", "0.4", ".4", "4e-1", "40 % .", "40 percent"],
        "wrong": ["0.4 %", "4 %", "40 points", "60 %", "40 %%", "400"],
        "unparsed": ["%", "forty", "40-50 %", "40/100", "2/5"],
    }),
    ("number", ("12.5 ml",), {  # a volume
        "right": ["12.5", "12.5 mL", "12.5 cm3", "12.5 cm³", "12.5 cm^3", "12.5 cc", "12500 mm3",
                  "0.0125 l", "1.25e1 ml", "12.5 cubic centimetres", "12500 µl", "0.125 dl"],
        "wrong": ["12.5 mm3", "12.5 l", "12.5 cm", "12.5 cm2", "125 cm3", "12.4 ml", "12500",
                  "12.5 ml ml", "12.5 grams"],
        "unparsed": ["ml", "12,5 ml", "12-13 ml", "about 12.5 ml", "V = 12.5 ml", "2 x 3 x 4 cm"],
    }),
    ("number", ("-60 HU",), {
        "right": ["-60", "-60 HU", "−60 hu", "-60.0 Hounsfield units"],
        "wrong": ["60 HU", "-60 mm", "-61", "-600 HU"],
        "unparsed": ["minus 60 HU", "HU -60", "-60 to -50 HU", "In 2 phases, -60 HU"],
    }),
    ("number", ("0",), {
        "right": ["0", "0.0", "-0", "0.", "00", ".0", "0e5", "+0"],
        "wrong": ["1", "0.1", "-1", "1e-6", "0 mm", "10", "0 or 1"],
        "unparsed": ["no", "none", "zero", "o", "O", "0-1", "0x10"],
    }),
]  # fmt: skip


def listings(items: Sequence[str]) -> Iterator[str]:
    """A list in every order, and between its items every sign that may stand there."""
    marks = (", ", ",", "; ", "、", "，", " ； ")
    for number, order in enumerate(permutations(items)):
        yield marks[number % len(marks)].join(order)
        yield marks[(number + 1) % len(marks)].join(item.upper() for item in order) + "."


ORGANS = ("Liver", "Heart", "Spleen")
SET: list[Row] = [
    ("set", ("Liver, Heart, Spleen",), {
        "right": [*listings(ORGANS), "heart, spleen, liver", "liver,liver,heart,spleen", "liver., "
                  "heart., spleen.", ", liver, heart, spleen,", "Liver;Heart,Spleen"],
        "wrong": ["liver, heart", "liver", "liver, heart, spleen, lung", "liver heart spleen",
                  "liver, heart and spleen", "liver and heart and spleen",
                  "the liver, heart, spleen",
                  "[liver, heart, spleen]", "liver\nheart\nspleen", "liver/heart/spleen", "all",
                  "- liver, heart, spleen", "liver, heart, spleens", "not liver, heart, spleen",
                  "liver, heart, spleen, kidney, lung, brain, bladder", "none", PARAGRAPH],
        "unparsed": [*BLANK, ",", ", ;", "、", " ，。", ";;;", ".,."],
    }),
    ("set", ("肝脏、心脏、脾脏", "肝、心、脾"), {
        "right": [*listings(("肝脏", "心脏", "脾脏")), *listings(("肝", "心", "脾")),
                  "脾脏，肝脏；心脏。"],
        "wrong": ["肝脏、心脏", "肝、心脏、脾脏", "肝脏和心脏和脾脏", "肝脏心脏脾脏",
                  "肝脏、心脏、脾脏、肺"],
        "unparsed": ["、", "，；"],
    }),
    ("set", ("Left Lung, Right", "Left Lung, Right Lung"), {
        "right": ["left lung, right", "right, left lung", "Right Lung, Left Lung",
                  "right lung;left lung"],
        "wrong": ["left lung", "right lung", "left, right", "left lung right lung", "lungs", "both",
                  "left lung, right, right lung"],
        "unparsed": BLANK,
    }),
    ("set", ("pink; red",), {
        "right": [*listings(("pink", "red"))],
        "wrong": ["pink", "red", "pink red", "white", "red; pinks", "none", "all", "pink; blue",
                  "blue", "pink and red", "pink, red, green, blue, white", "pinkred"],
        "unparsed": BLANK,
    }),
    ("set", ("CT",), {
        "right": [*dressed("CT"), "CT,CT", "ct,", ",ct"],
        "wrong": ["CT, MR", "MR", "CT scan", "C,T", "CT MR", "CT/MR", "no CT"],
        "unparsed": BLANK,
    }),
]  # fmt: skip
SHIFTS = range(0, 100, 2)
"""By so many pixels a box of 100 is moved: it overlaps by (100 - d) / (100 + d), half at 33.3."""
REGION: list[Row] = [
    ("region", ("[0, 0, 100, 100]",), {
        "right": [*(f"[{d}, 0, {100 + d}, 100]" for d in SHIFTS if d < 34),
                  *(f"[0,{-d},100,{100 - d}]" for d in SHIFTS if d < 34),
                  "[0,0,100,100]", " [0, 0, 100, 100] ", "[ 0 , 0 , 100 , 100 ]",
                  "[0.0, 0, 100.0, 100]",
                  "[0, 0, 100, 100].", "[0, 0,\n100, 100]", "[0, 0, 100, 50]", "[0, 0, 200, 100]",
                  "[0, 0, 100, 100]。", "[0.5, 0.5, 99.5, 99.5]", "[0000, 0, 0100, 100]"],
        "wrong": [*(f"[{d}, 0, {100 + d}, 100]" for d in SHIFTS if d >= 34),
                  *(f"[0, {d}, 100, {100 + d}]" for d in SHIFTS if d >= 34),
                  "[0, 0, 1000, 1000]", "[0, 0, 1, 1]", "[-999, -999, 999, 999]",
                  "[0, 0, 201, 100]",
                  "[0, 0, 100, 49.9]", "[500, 500, 600, 600]", "[0, 0, 9999999, 9999999]"],
        "unparsed": [*BLANK, "[]", "[0, 0, 100]", "[0, 0, 100, 100, 5]", "0, 0, 100, 100",
                     "(0, 0, 100, 100)", "[0 0 100 100]", "[100, 100, 0, 0]", "[0, 0, 0, 100]",
                     "[0, 0, 100, 0]", "[0, 0, 1e2, 100]", "[0, 0, 1e99, 1e99]",
                     "[nan, 0, 100, 100]",
                     "[0, 0, inf, inf]", "[a, b, c, d]", "[0, 0, 100, 100", "0, 0, 100, 100]",
                     "[0, 0, 100, 100], [0, 0, 100, 100]",
                     "box: [0, 0, 100, 100]",
                     "[0, 0, 100, 100] mass", "the left lung", "[0,, 0, 100, 100]", "[0;0;100;100]",
                     "{0, 0, 100, 100}", "[0, 0, 12345678, 100]", "[--1, 0, 100, 100]",
                     "[+0, 0, 100, 100]", "[.5, 0, 100, 100]", "[5., 0, 100, 100]",
                     '"[0, 0, 100, 100]"', PARAGRAPH],
    }),
    ("region", ("[0, 0, 10, 10]", "[20, 20, 30, 30]"), {
        "right": ["[0, 0, 10, 10]", "[20, 20, 30, 30]", "[20, 20, 30, 31]"],
        "wrong": ["[0, 0, 30, 30]", "[10, 10, 20, 20]", "[8, 8, 22, 22]"],
        "unparsed": ["[0, 0, 10, 10] [20, 20, 30, 30]"],
    }),
]  # fmt: skip

TABLES: list[Row] = [*CLOSED, *OPEN, *NUMBER, *SET, *REGION]


@pytest.mark.parametrize("row", TABLES, ids=lambda row: f"{row[0]}: {row[1][0][:20]}")
def test_every_answer_gets_its_verdict(row: Row) -> None:
    kind, golds, answers = row
    case = a_case(kind, golds)
    assert unscorable(case) is None
    expected = {text: verdict for verdict, texts in answers.items() for text in texts}
    assert {text: grade(case, text).verdict for text in expected} == expected


def test_the_tables_are_large() -> None:
    sizes: Counter[str] = Counter()
    for kind, _, answers in TABLES:
        sizes[kind] += sum(len(set(texts)) for texts in answers.values())
    assert set(sizes) == {"closed", "open", "number", "set", "region"}
    assert min(sizes.values()) >= 150, sizes


SLAKE_CLOSED = ["No"] * 180 + ["Yes"] * 175 + ["Left", "MRI", "Chest", "Right", "CT"] * 12
"""The closed answers of SLAKE's English test: 180 no, 175 yes, 61 others (60 of them here)."""
OTHERS: dict[AnswerType, list[str]] = {
    "open": ["pleural effusion", "liver", "t2", "right lung", "transverse plane", "pneumonia"],
    "set": ["Liver, Heart", "Left Lung, Right Lung", "pink; red", "Liver"],
    "number": ["4", "5 cm", "1", "2", "0"],
    "report": ["No acute finding.", "Normal chest."],
    "region": ["[0, 0, 100, 100]", "[300, 300, 500, 500]", "[10, 500, 90, 900]"],
}


@pytest.mark.parametrize("kind", [*OTHERS, "closed"])
def test_neither_a_paragraph_nor_a_list_of_everything_is_ever_right(kind: AnswerType) -> None:
    golds = SLAKE_CLOSED if kind == "closed" else OTHERS[kind]
    everything = list(dict.fromkeys(golds))
    listed = [mark.join(everything) for mark in (", ", " ", " or ")]
    for constant in (PARAGRAPH, *listed):
        assert not any(grade(a_case(kind, (gold,)), constant).right for gold in golds)


@pytest.mark.parametrize(
    "reply",
    ["A, B, C, D", "ABCD", "A B C D", "A or B", "A/B", "all", "both", "any of them", PARAGRAPH,
     "smooth, banded, granular, none", "smooth or banded", "the second", "not B", "B. smooth", "E"],
)  # fmt: skip
def test_several_options_are_never_the_right_one(reply: str) -> None:
    options = ("smooth", "banded", "granular", "none")
    for gold in options:
        assert grade(a_case("choice", (gold,), options=options), reply).verdict == "unparsed"


def test_one_constant_word_is_right_as_often_as_it_is_the_gold() -> None:
    cases = [a_case("closed", (gold,)) for gold in SLAKE_CLOSED]
    assert sum(grade(case, "no").right for case in cases) == 180


@pytest.mark.parametrize("kind", ["closed", "open", "report", "set"])
@pytest.mark.parametrize("gold", [".", "。", " ... "])
def test_a_gold_of_full_stops_is_no_gold(kind: AnswerType, gold: str) -> None:
    """An empty answer equalled it, so that saying nothing was right."""
    case = a_case(kind, (gold,))
    assert grade(case, "").verdict == "unparsed"
    assert unscorable(case) == "the answer is blank"
    assert unscorable(a_case(kind, ("liver", gold))) == "an accepted answer is blank"


def test_an_option_of_full_stops_is_not_what_an_empty_answer_names() -> None:
    assert option_of("", ("...", "liver")) is None
    case = a_case("choice", ("liver",), options=("...", "liver"))
    assert grade(case, "").verdict == "unparsed"
    assert unscorable(case) == "an option is blank"


def test_an_empty_answer_is_not_right_where_only_a_region_is_gold() -> None:
    region = {"label": "mass", "box_px": (0, 0, 5, 5)}
    kinds: tuple[AnswerType, ...] = ("open", "closed", "region")
    for kind in kinds:
        assert grade(a_case(kind, ("",), regions=(region,)), "").verdict == "unparsed"


@pytest.mark.parametrize("gold", [",", "、 ；"])
def test_a_set_without_an_item_is_refused(gold: str) -> None:
    with pytest.raises(UserError, match="lists nothing; fix: write its items"):
        check_gold(a_case("set", (gold,)))


@pytest.mark.parametrize("gold", ["120/80 mmHg", "12–14", "2 x 3 cm", "12:30", "4 ± 1"])
def test_a_gold_of_two_numbers_is_none(gold: str) -> None:
    """The first of them was right, since the second was read as its unit."""
    with pytest.raises(UserError, match="fix: write a number"):
        check_gold(a_case("number", (gold,)))
