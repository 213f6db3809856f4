"""The proof that the questions `length` and `stage` need their tools, and have true gold."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from medgym.cases import Case
from medgym.errors import UserError
from medgym.files import read_text
from medgym.sources.phantom import rules
from medgym.sources.phantom.balance import ALARM, CheckRow, judged
from medgym.sources.phantom.modalities import view_sizes
from medgym.sources.phantom.plan import PhantomPlan
from medgym.sources.phantom.rules import RULE_STAGES, SHARES, Rule, rules_of
from medgym.sources.phantom.tool_questions import question_name, range_options, rule_of

Asked = Sequence[tuple[Case, PhantomPlan]]

FACTOR = 2.0
"""A phantom is drawn at its own scale and at one so many times larger."""


def tool_rows(asked: Asked) -> Iterator[CheckRow]:
    """The rows of the cases that ask for a length or for a stage; none where there are none."""
    lengths = [each for each in asked if question_name(each[0]) == "length"]
    stages = [each for each in asked if question_name(each[0]) == "stage"]
    if lengths:
        yield _scale_row(lengths)
        yield from answer_rows("length", lengths, range_options(lengths[0][1].look))
    if stages:
        yield _passage_row(stages)
        yield _split_row()
        yield _words_row()
        yield from answer_rows("stage", stages, RULE_STAGES)


def _scale_row(lengths: Asked) -> CheckRow:
    """Whatever a phantom's scale, it is the same picture."""
    leaks = []
    for case, plan in lengths:
        others = replace(plan, spacing=plan.spacing_mm * FACTOR), replace(plan, spacing=None)
        study, *twins = (each.study() for each in (plan, *others))
        whole = (0, 0, plan.size, plan.size)
        same = all(np.array_equal(twin.pixels, study.pixels) for twin in twins) and all(
            twin.render(whole, (side, side)).tobytes()
            == study.render(whole, (side, side)).tobytes()
            for side in view_sizes(plan.size)
            for twin in twins
        )
        if not same or case.context:
            leaks.append(case.id)
    return CheckRow(
        "no overview shows the scale on which the length depends",
        "fail" if leaks else "pass",
        f"{len(leaks)} of {len(lengths)} phantoms look other at another scale, or state it",
        f"draw them without the spacing; first leak: {leaks[0]}" if leaks else "",
    )


def answer_rows(question: str, asked: Asked, options: Sequence[str]) -> Iterator[CheckRow]:
    """The answers go with nothing that an image shows. Where looks differ in their options, the
    place of an option counts."""
    places = [case.options.index(case.answer) for case, _ in asked if case.answer in case.options]
    shown = {
        "kind": [str(plan.kind) for _, plan in asked],
        "side": [plan.side for _, plan in asked],
        "size in pixels": [str(plan.length) for _, plan in asked],
    }
    for name, values in shown.items():
        pairs = Counter(zip(values, places, strict=False))
        table = np.array(
            [[pairs[v, place] for place in range(len(options))] for v in sorted(set(values))]
        )
        if len(table) > 1:
            yield judged(f"the {question} does not go with the lesion's {name}", table, "")


def _passage_row(stages: Asked) -> CheckRow:
    """The passage of each case's rule says the answer, and the question names the rule."""
    wrong = []
    said = _read()
    for case, plan in stages:
        rule = rule_of(plan)
        if said.get(f"Rule {rule.name}") != f"every lesion is of {case.answer}.":
            wrong.append(f"{case.id}: the passage of {rule.name} does not say {case.answer}")
        elif f"the rule {rule.name}?" not in case.question:
            wrong.append(f"{case.id}: the question does not name {rule.name}")
    return CheckRow(
        "the passages say the stage, and the question names the rule",
        "fail" if wrong else "pass",
        f"{len(wrong)} faults in {len(stages)} cases",
        f"fix the passages; first fault: {wrong[0]}" if wrong else "",
    )


def _read() -> dict[str, str]:
    lines = read_text(rules.PASSAGES, "file of passages").splitlines()
    try:
        found = [json.loads(line) for line in lines]
        return {each["title"]: each["text"] for each in found}
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{rules.PASSAGES} holds no passages ({error}); fix: install medgym again"
        ) from error


def _split_row() -> CheckRow:
    names = Counter(rule.name for split in SHARES for rule in rules_of(split))
    twice = [name for name, count in names.items() if count > 1]
    return CheckRow(
        "splits share no rule",
        "fail" if twice else "pass",
        f"{len(twice)} of {len(names)} rules are in two splits",
        f"give each split its own rules; first of two: {twice[0]}" if twice else "",
    )


def _words_row() -> CheckRow:
    """Who has read all rules of training, word by word, guesses those of the other splits."""
    learned = rules_of("train")
    tested = [rule for split in SHARES if split != "train" for rule in rules_of(split)]
    right = sum(_guess(rule, learned) == rule.stage for rule in tested)
    return _words(right, len(tested))


def _words(right: int, tested: int) -> CheckRow:
    """A row that says whether the rules of training tell those of other splits."""
    from scipy.stats import binom

    leak = float(binom.sf(right - 1, tested, 1 / len(RULE_STAGES))) < ALARM
    return CheckRow(
        "the rules of training do not tell those of other splits",
        "fail" if leak else "pass",
        f"{right} of {tested} are guessed from their words (by chance: {tested // 4})",
        "draw the stages without the words" if leak else "",
    )


def _guess(rule: Rule, learned: Sequence[Rule]) -> str:
    """The stage that the known rules with the same words have most often."""
    votes = Counter(
        each.stage
        for each in learned
        for a, b in zip(each.words, rule.words, strict=True)
        if a == b
    )
    return max(RULE_STAGES, key=lambda stage: votes[stage])
