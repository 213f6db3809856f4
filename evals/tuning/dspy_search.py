"""Optimisers of dspy propose prompts: `medgym tune --optimiser dspy:simba`.

To dspy, an episode of medgym is one predictor. Its instructions and demonstrations are the prompt;
what it predicts is the answer. An optimiser asks for episodes of training cases and has a language
model write instructions; what it comes to are candidates like any other, among which the validation
decides. The model that writes is a policy of medgym too.
"""

import asyncio
import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

import dspy
from dspy.lm15 import Message as DspyMessage
from dspy.lm15 import Response, TextPart, Usage, response_to_events
from dspy.utils.exceptions import AdapterParseError

from medgym.cases import LETTERS, Case
from medgym.errors import RunError, UserError
from medgym.messages import Message, message, render_answer
from medgym.policy import Policy, Sampling

from .grammar import FRAMES, Candidate, given_answer
from .kept import Kept
from .training import TrainingEpisodes

TOLD = "Answer the question about the images."
"""The instructions that an optimiser begins with. They stand for no prompt at all."""

MOST_WRITTEN = 4_096
"""Tokens of a reply of the model that writes."""


class Writer:
    """The language model that writes instructions, as an engine of dspy: a policy of medgym.

    A reply that it has given before is not asked for again.

    Attributes:
        spec: of the policy.
        failure: the first failure of the policy; dspy continues without its reply.
    """

    def __init__(self, policy: Policy, seed: int, kept: Kept) -> None:
        self.spec = policy.spec
        self._policy = policy
        self._seed = seed
        self._kept = kept
        self._lock = threading.Lock()
        self.failure: RunError | UserError | None = None

    def __deepcopy__(self, memo: Mapping[int, object]) -> "Writer":
        return self

    def complete(self, request: Any) -> Any:
        """The reply to a request of dspy."""
        conversation = list(_conversation(request))
        temperature = float(getattr(request.config, "temperature", None) or 0.0)
        told = json.dumps([temperature, *((each.role, each.text) for each in conversation)])
        key = hashlib.blake2b(told.encode(), digest_size=16).hexdigest()
        with self._lock:
            if key not in self._kept:
                seed = (self._seed + int(key[:8], 16)) % 2**31
                sampling = Sampling(temperature=temperature, max_tokens=MOST_WRITTEN, seed=seed)
                try:
                    reply = asyncio.run(self._act(conversation, sampling))
                except (RunError, UserError) as error:
                    self.failure = self.failure or error
                    raise
                self._kept.put(key, reply)
        return Response(
            id=None,
            model="medgym",
            message=DspyMessage.assistant([TextPart(str(self._kept[key]))]),
            finish_reason="stop",
            usage=Usage(input_tokens=0, output_tokens=0, total_tokens=0),
        )

    async def _act(self, conversation: Sequence[Message], sampling: Sampling) -> str:
        return (await self._policy.act(conversation, sampling)).text

    def stream(self, request: Any) -> Any:
        """The same as events."""
        return response_to_events(self.complete(request))

    def close(self) -> None:
        """Nothing; the policy is the command's."""


def _conversation(request: Any) -> Any:
    system = request.system
    if system is not None:
        text = system if isinstance(system, str) else "".join(part.text for part in system)
        yield message("system", text)
    for each in request.messages:
        yield message("assistant" if each.role == "assistant" else "user", each.text or "")


class EpisodeAnswer(dspy.Predict):  # type: ignore[misc]
    """The answer to a case, played as an episode. Its instructions and demos are the prompt."""

    def __init__(self, episodes: TrainingEpisodes) -> None:
        super().__init__(dspy.Signature("question, case -> answer", TOLD))
        self.episodes = episodes

    def forward(self, **kwargs: Any) -> Any:
        """Play the case."""
        asked = getattr(self.lm or dspy.settings.lm, "kwargs", {})
        found = self.episodes.answer(
            prompt_of(self.signature.instructions, self.demos),
            kwargs["case"],
            float(asked.get("temperature") or 0.0),
            int(asked.get("rollout_id") or 0),
        )
        prediction = dspy.Prediction(answer=found["answer"], right=found["right"])
        if dspy.settings.trace is not None:
            seen = dspy.Prediction(answer=found["answer"])
            dspy.settings.trace.append((self, dict(kwargs), seen))
        return prediction


class Episodes(dspy.Module):  # type: ignore[misc]
    """A policy that looks at medical images with tools and answers a question about them."""

    def __init__(self, episodes: TrainingEpisodes) -> None:
        super().__init__()
        self.answer = EpisodeAnswer(episodes)

    def forward(self, question: str, case: str) -> Any:
        """The policy sees the question, the images of the case, and the instructions."""
        return self.answer(question=question, case=case)


def prompt_of(instructions: str, demos: Sequence[Any]) -> str:
    """The prompt that instructions and demonstrations are."""
    told = instructions.strip()
    parts = [told] if told and (told != TOLD or demos) else []
    if demos:
        asks, answers, between = FRAMES[0]
        worked = between.join(
            f"{asks}{demo['question']}\n{answers}{render_answer(demo['answer'])}" for demo in demos
        )
        parts.append(f"Examples, without their images:\n{worked}")
    return "\n\n".join(parts)


def asked_of(case: Case) -> str:
    """The question of a case with its options."""
    options = (f"\n{a}. {text}" for a, text in zip(LETTERS, case.options, strict=False))
    return case.question + "".join(options)


def _metric(example: Any, prediction: Any, *_: Any) -> float:
    return float(bool(prediction is not None and prediction.right))


def _feedback(example: Any, prediction: Any, *_: Any) -> Any:
    right = _metric(example, prediction)
    said = "Right." if right else f"Wrong: the right answer is {example.answer}."
    return dspy.Prediction(score=right, feedback=said)


def _simba(train: Sequence[Any], budget: int, seed: int, lm: Any, shots: int) -> Callable[..., Any]:
    size = min(len(train), 16, max(2, budget // 12))
    tried = 3
    steps = max(1, budget // (size * (2 * tried + 1)))
    made = dspy.SIMBA(
        metric=_metric, bsize=size, num_candidates=tried, max_steps=min(steps, 8),
        max_demos=shots, prompt_model=lm, num_threads=1,
    )  # fmt: skip
    return lambda program: made.compile(program, trainset=list(train), seed=seed)


def _mipro(train: Sequence[Any], budget: int, seed: int, lm: Any, shots: int) -> Callable[..., Any]:
    half = len(train) // 2
    trials = max(2, min(20, budget // max(1, len(train) - half) - 1))
    made = dspy.MIPROv2(
        metric=_metric, prompt_model=lm, task_model=lm, auto=None, num_candidates=4,
        max_bootstrapped_demos=shots, max_labeled_demos=shots, num_threads=1, seed=seed,
    )  # fmt: skip
    return lambda program: made.compile(
        program, trainset=list(train[:half]), valset=list(train[half:]), num_trials=trials,
        minibatch=False,
    )  # fmt: skip


def _gepa(train: Sequence[Any], budget: int, seed: int, lm: Any, shots: int) -> Callable[..., Any]:
    half = len(train) // 2
    made = dspy.GEPA(
        metric=_feedback, max_metric_calls=budget, reflection_lm=lm, num_threads=1, seed=seed,
        track_stats=True,
    )  # fmt: skip
    return lambda program: made.compile(
        program, trainset=list(train[:half]), valset=list(train[half:])
    )


OPTIMISERS = {"simba": _simba, "mipro": _mipro, "gepa": _gepa}

FEWEST = 8
"""Training cases that an optimiser needs."""


def proposed(
    name: str, episodes: TrainingEpisodes, writer: Writer, *, count: int, seed: int, shots: int
) -> list[Candidate]:
    """No prompt, and the prompts that an optimiser of dspy comes to, the best one first.

    Args:
        name: one of `OPTIMISERS`.
        writer: the model that writes instructions.
        count: the most candidates. shots: the most demonstrations in a prompt.

    Raises:
        UserError: there are too few training cases, what the writer wrote is no instruction, or the
            optimiser itself failed.
    """
    if len(episodes.cases) < FEWEST:
        raise UserError(
            f"dspy:{name} learns from {len(episodes.cases)} training cases; fix: give at least "
            f"{FEWEST} by --examples"
        )
    train = [
        dspy.Example(
            question=asked_of(case), case=case.id, answer=given_answer(case)
        ).with_inputs("question", "case")
        for case in episodes.cases
    ]  # fmt: skip
    lm = dspy.LM("medgym/writer", engine=writer, cache=False, max_tokens=MOST_WRITTEN)
    # Whatever it prints, its progress bars too, is not the command's.
    with dspy.context(lm=lm), open(os.devnull, "w") as nowhere, quiet(nowhere):
        search = OPTIMISERS[name](train, episodes.budget, seed, lm, shots)
        try:
            best = search(Episodes(episodes))
        except AdapterParseError as error:  # an episode is no model to dspy, only the writer is
            raise UserError(
                f"dspy:{name} cannot use what {writer.spec} wrote where it was asked for an "
                "instruction; fix: name a larger model by --writer, or take another optimiser"
            ) from error
        except Exception as error:
            failure = episodes.failure or writer.failure
            raise failure or UserError(
                f"dspy:{name} failed ({type(error).__name__}: {error}); fix: see dspy's "
                "documentation, or use the built-in search (omit --optimiser)"
            ) from error
    if failure := episodes.failure or writer.failure:
        raise failure
    found = {"": Candidate(0)}
    for program in _programs(best):
        prompt = prompt_of(program.answer.signature.instructions, program.answer.demos)
        used = tuple(str(demo["case"]) for demo in program.answer.demos if "case" in demo)
        if len(found) < count:
            found.setdefault(prompt, Candidate(len(found), prompt, {}, used))
    return list(found.values())


@contextmanager
def quiet(nowhere: TextIO) -> Iterator[None]:
    """Send what is printed and logged by dspy nowhere."""
    logger = logging.getLogger("dspy")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield
    finally:
        logger.setLevel(before)


def _programs(best: Any) -> list[Any]:
    """The program that an optimiser came to, then the others that it had tried."""
    others = [each["program"] for each in getattr(best, "candidate_programs", None) or []]
    details = getattr(best, "detailed_results", None)
    others += list(getattr(details, "candidates", None) or [])
    return [best, *(each for each in others if hasattr(each, "answer"))]
