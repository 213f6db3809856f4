"""What became of one episode of an evaluation, in one row."""

import hashlib
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from medgym.cases import Case, case_hash, normalised
from medgym.failures import unreadable_of
from medgym.metrics.looking import hit
from medgym.same_images import images_at_start
from medgym.scorer import Grade, Verdict, grade, scorer_name
from medgym.trajectory import Trajectory

from ..looking.columns import looking_columns
from ..reading.answer_probability import answer_probability
from ..reading.confidence import stated_confidence
from ..scorers.words import SharedWords, best_overlap
from ..spending import whole_usage
from ..viewer.tokens import Pieces
from .answer_text import answer_text, answering_reply, last_reply
from .answers.number_columns import relative_accuracy_of
from .answers.region_columns import region_columns
from .answers.report_columns import report_columns
from .lenient import READING, lenient_grade
from .spelling import spelled

YES_NO = ("yes", "no")


@dataclass(frozen=True, slots=True)
class CaseOutcome:
    """What became of one episode.

    Attributes:
        benchmark: of a suite; empty else.
        case, case_hash, source, group: which case it was, and to whom it belongs.
        answer_type, modality, body_part, language: of the case, for tables of subgroups.
        member: of the case's episodes.
        scorer, version: what decided. reading: the version of the lenient reading; None of files
            that older versions wrote.
        gold, answer: the right answer, and what stood between `<answer>` and `</answer>`.
        verdict, score: by the strict rule, the one of rewards.
        lenient_verdict, lenient_score: where a reply is also read that is not in medgym's form.
        reward: by the run's rubric.
        looked: whether a tool showed something. hit: whether a look showed a gold region.
        turns, calls, tokens: replies, tool calls, tokens of the episode.
        input_tokens, output_tokens, cached_tokens: of all its requests, each of which reads the
            conversation again; those that a server had read before; None where they are not known.
        failure: why there is no answer, where the machinery or the case is to blame.
        recall, f1: of an open case how much of the gold the answer says, see
            `medgym.evals.scorers.words`; None of any other, and of files that older versions wrote.
        look_iou, look_coverage: the best box IoU of a look with a gold region, and the share of the
            gold regions that the looks showed; None where there is no region.
        calls_needed: the least number of calls that show a gold region, see
            `medgym.metrics.grounding`; None where there is no region.
        looks, repeated_looks: how many views the tools made, and how many of these showed nothing
            new; None of files that older versions wrote.
        call_faults: what was wrong with each call that was refused or late, with commas between.
        stated_confidence: the confidence that the last reply states. answer_probability: that of
            the answer's tokens. Both from 0 to 1, None where they are not known; see
            `medgym.evals.reading.answer_probability`.
        triplet_precision, triplet_recall, triplet_f1: of a report in English, see
            `medgym.evals.scorers.report.triplets`.
        bleu, rouge1, rouge2, rouge_l: of a report, see `medgym.evals.scorers.report.by_words`.
            bleu_counts, bleu_signature: what the BLEU of many reports is made of, and how.
        relative_accuracy: of a number, see `medgym.evals.scorers.number`.
        iou, dice: of a region, the overlap of all its parts together. hd95, nsd, surface_unit: how
            far the outlines are apart, in which unit, see `medgym.evals.scorers.region.surface`.
            boxes: those of the gold and of the answer as JSON, for average precision.
        shown: a hash of the case's images as the episode began with them; None where that is not
            known, as of a consultation and of files that older versions wrote.
        spelling: what the answer says in one spelling, where that is not how it is compared as
            text: see `medgym.evals.outcomes.spelling`.
    """

    benchmark: str
    case: str
    case_hash: str
    source: str
    group: str
    answer_type: str
    modality: str | None
    body_part: str | None
    language: str
    member: int
    scorer: str
    version: str
    gold: str
    answer: str | None
    verdict: Verdict
    score: float
    lenient_verdict: Verdict
    lenient_score: float
    reward: float | None
    looked: bool
    hit: bool | None
    turns: int
    calls: int
    tokens: int
    failure: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    recall: float | None = None
    f1: float | None = None
    look_iou: float | None = None
    look_coverage: float | None = None
    calls_needed: int | None = None
    looks: int | None = None
    repeated_looks: int | None = None
    call_faults: str = ""
    stated_confidence: float | None = None
    answer_probability: float | None = None
    triplet_precision: float | None = None
    triplet_recall: float | None = None
    triplet_f1: float | None = None
    bleu: float | None = None
    bleu_counts: list[int] | None = None
    bleu_signature: str | None = None
    rouge1: float | None = None
    rouge2: float | None = None
    rouge_l: float | None = None
    relative_accuracy: float | None = None
    iou: float | None = None
    dice: float | None = None
    hd95: float | None = None
    nsd: float | None = None
    surface_unit: str | None = None
    boxes: str | None = None
    shown: str | None = None
    spelling: str | None = None
    reading: str | None = None

    @property
    def vote(self) -> str | None:
        """What the answer says, by which the answers to a case are counted; None without one."""
        return self.spelling or (None if self.answer is None else normalised(self.answer))

    def __reduce__(self) -> tuple[Any, ...]:
        # Packed and unpacked in half the time that a frozen dataclass takes by itself.
        return CaseOutcome, _ALL(self)

    @property
    def key(self) -> tuple[str, str, int]:
        """What names the episode among those of an evaluation."""
        return self.benchmark, self.case, self.member

    @property
    def unit(self) -> tuple[str, str]:
        """What the case is not independent of: its group, or, where it has none, only itself."""
        return self.source, self.group or self.case

    @property
    def is_counted(self) -> bool:
        """Whether the figures count it: the case could be read, and the machinery worked."""
        return self.verdict not in ("unreadable", "failed")


_ALL = attrgetter(*(each.name for each in fields(CaseOutcome)))


def outcome_of(
    case: Case, trajectory: Trajectory, benchmark: str = "", pieces: Pieces | None = None
) -> CaseOutcome:
    """Judge a stored episode by today's scorers.

    Args:
        pieces: spells the tokens of its run; without it no probability of an answer is known.

    Raises:
        UserError: the case's gold is not of its type.
    """
    from medgym.scorer import load_scorer

    strict, lenient = grades(case, trajectory)
    name = scorer_name(case)
    words = open_overlap(case, trajectory)
    parts = [part for _, part in trajectory.parts()]
    usage = whole_usage(trajectory)
    said = None if trajectory.answer is None else last_reply(trajectory)
    return CaseOutcome(
        benchmark=benchmark,
        case=case.id,
        case_hash=trajectory.case_hash or case_hash(case),
        source=case.source,
        group=case.group,
        answer_type=case.answer_type,
        modality=case.modality,
        body_part=case.body_part,
        language=case.language,
        member=trajectory.member,
        scorer=name,
        version=load_scorer(name).version,
        gold=case.answer,
        answer=trajectory.answer,
        verdict=strict.verdict,
        score=strict.score,
        lenient_verdict=lenient.verdict,
        lenient_score=lenient.score,
        reward=trajectory.reward,
        looked=bool(trajectory.looks),
        hit=hit(case, trajectory),
        turns=trajectory.turns,
        calls=sum(len(part.calls) for part in parts),
        tokens=trajectory.tokens,
        failure=trajectory.failure,
        input_tokens=None if usage is None else usage.prompt_tokens,
        output_tokens=None if usage is None else usage.completion_tokens,
        cached_tokens=None if usage is None else usage.cached_tokens,
        recall=None if words is None else words.recall,
        f1=None if words is None else words.f1,
        **looking_columns(case, trajectory),
        stated_confidence=None if said is None else stated_confidence(said),
        answer_probability=None if pieces is None else answer_probability(trajectory, pieces),
        **report_columns(case, trajectory),
        **region_columns(case, trajectory),
        relative_accuracy=relative_accuracy_of(case, trajectory),
        shown=_shown(case, trajectory),
        spelling=_spelling(case, trajectory.answer),
        reading=READING,
    )


def _shown(case: Case, trajectory: Trajectory) -> str | None:
    """One hash for all; views of parts of the images, which a case may begin with, do not count."""
    at_start = images_at_start(trajectory)
    own = [at_start.get(number) for number in range(len(case.images))]
    if None in own:
        return None
    return hashlib.blake2b(" ".join(map(str, own)).encode(), digest_size=16).hexdigest()


def _spelling(case: Case, answer: str | None) -> str | None:
    if answer is None or (said := spelled(case, answer)) == normalised(answer):
        return None
    return said


def grades(case: Case, trajectory: Trajectory) -> tuple[Grade, Grade]:
    """The grade by the strict rule, and by the lenient one, which is never the lower."""
    if trajectory.failure is not None:
        verdict: Verdict = "unreadable" if unreadable_of(trajectory.failure) else "failed"
        return Grade(0.0, verdict), Grade(0.0, verdict)
    strict = grade(case, trajectory.answer)
    if strict.right:
        return strict, strict
    reply = answering_reply(case, trajectory)
    lenient = strict if reply is None else lenient_grade(case, reply)
    return strict, lenient if lenient.score >= strict.score else strict


def open_overlap(case: Case, trajectory: Trajectory) -> SharedWords | None:
    """What the answer to an open case shares with its golds; None of any other case.

    The answer is what stands between `<answer>` and `</answer>`. Where there is none, it is read
    leniently: see `answer_text`.
    """
    if case.answer_type != "open" or case.options or trajectory.failure is not None:
        return None
    return best_overlap(case, answer_text(case, trajectory))
