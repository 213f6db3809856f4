"""A policy's reply, taken out of what a server answered; nothing of a wrong form passes.

What the server did wrong is a failure that names the server. What it withheld (a refusal, a reply
that a content filter took, a message without text) is counted apart and is never a reply: an empty
one would be scored as if the policy had written it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from medgym.failures import Failure, reason_of
from medgym.messages import Reply, Usage

from ..prompt_check import DriftError, text_of
from ..rendering import Prompt, Renderer
from .bodies import one_line
from .chat_messages import reply_text

WRONG_FORM = (
    LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError
)  # fmt: skip
"""What reading a value of an unexpected form raises."""

FILTER_CODES = {
    "content_filter", "content_policy_violation", "invalid_prompt", "ResponsibleAIPolicyViolation"
}  # fmt: skip
"""The codes of errors by which servers say that a content filter kept the question out."""

_FILTERED = {"content_filter", "safety"}
_REFUSED = {"refusal"}
_BROKEN = {"error", "abort"}


@contextmanager
def reading(url: str) -> Iterator[None]:
    """Read what the server at `url` answered.

    Raises:
        Failure: it has another form than it should have.
    """
    try:
        yield
    except WRONG_FORM as error:
        raise Failure("policy", f"{url}: unexpected reply, {reason_of(error)}"[:200]) from error


def choice_of(answer: Any, url: str) -> Mapping[str, Any]:
    """The one reply in an answer.

    Raises:
        Failure: it was withheld, or did not come to its end.
    """
    require(answer, dict, "the answer")
    if answer.get("error") and not answer.get("choices"):  # with the status of a success
        error = answer["error"]
        said = error.get("message") if isinstance(error, dict) else error
        said = one_line(said)[:100] if isinstance(said, str) else "an error"
        raise Failure("policy", f"{url} answers {said}"[:200])
    choices = require(answer["choices"], list, "choices")
    if not choices:  # as some services answer a question that they block
        raise Failure("policy", f"{url} answers without a reply"[:200], withheld="empty")
    choice: Mapping[str, Any] = choices[0]
    ended = require(choice, dict, "the choice").get("finish_reason")
    ended = ended.lower() if isinstance(ended, str) else ended
    if ended in _FILTERED:
        raise filtered(url, f"it ended the reply by {ended}")
    if ended in _REFUSED:
        raise _refused(url, f"it ended the reply by {ended}")
    if ended in _BROKEN:
        raise Failure("policy", f"{url} ended a reply by {ended!r}")
    return choice


def filtered(url: str, why: str) -> Failure:
    """The failure for a reply, or a question, that a content filter of the server took."""
    return Failure("policy", f"{url} filters content ({why})"[:200], True, "filtered")


def _refused(url: str, why: str) -> Failure:
    return Failure("policy", f"{url} refuses to reply ({why})"[:200], True, "refused")


def chat_reply(
    choice: Mapping[str, Any], url: str, opening: str, *, takes_calls: bool = False
) -> tuple[str, bool]:
    """The text of a chat reply, and whether the token limit cut it.

    Args:
        takes_calls: whether the server was offered tools, so that calls may stand for a text.

    Raises:
        Failure: the model refused, or the message has no text.
    """
    message = require(choice["message"], dict, "the message")
    refusal = message.get("refusal")
    if refusal:
        why = f"it says {one_line(refusal)[:80]!r}" if isinstance(refusal, str) else "it says so"
        raise _refused(url, why)
    cut = choice.get("finish_reason") == "length"
    content = message.get("content")
    thought = message.get("reasoning") or message.get("reasoning_content")
    called = message.get("tool_calls") or message.get("function_call")
    if content is None and not thought and not cut and not (takes_calls and called):
        why = "a message without text"
        if called:
            why = "with calls and no text; fix: add ?tools=native"
        raise Failure("policy", f"{url} answers {why}"[:200], withheld="empty")
    return reply_text(message, cut=cut, opening=opening), cut


def usage_of(answer: Any) -> Usage | None:
    """The tokens of a request as the server counts them; None where it does not say."""
    said = answer.get("usage")
    if not isinstance(said, dict):
        return None
    prompt, completion = said.get("prompt_tokens"), said.get("completion_tokens")
    if type(prompt) is not int or type(completion) is not int:
        return None
    if min(prompt, completion) < 0 or max(prompt, completion) >= 2**40:
        return None
    details = said.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    is_known = type(cached) is int and 0 <= cached <= prompt
    return Usage(prompt, completion, cached if is_known else None)


def token_ids(value: Any, what: str) -> tuple[int, ...]:
    """Token ids as a server reports them."""
    ids = require(value, list, what)
    if not all(type(each) is int and 0 <= each < 2**31 for each in ids):
        raise TypeError(f"{what} are no token ids")
    return tuple(ids)


def exact_reply(
    renderer: Renderer, prompt: Prompt, choice: Mapping[str, Any], url: str, max_tokens: int
) -> Reply:
    """The reply whose tokens were sampled after a prompt.

    Raises:
        DriftError: tokens and log-probabilities do not belong together.
        Failure: the reply did not end as it should.
    """
    ended = choice["finish_reason"]
    if ended not in ("stop", "length"):
        raise Failure("policy", f"{url} ended a reply by {ended!r:.40}")
    ids = token_ids(choice["token_ids"], "the sampled tokens")
    if len(ids) > max_tokens:
        raise Failure("policy", f"{url} samples {len(ids)} tokens where it may {max_tokens}")
    content: Sequence[Mapping[str, Any]] = choice["logprobs"]["content"]
    logprobs = tuple(float(each["logprob"]) for each in content)
    if len(logprobs) != len(ids):
        raise DriftError(f"{url} gives {len(logprobs)} log-probabilities for {len(ids)} tokens")
    if not all(math.isfinite(value) for value in logprobs):
        raise Failure("policy", f"{url} gives log-probabilities that are no numbers")
    exact = Reply(
        text=text_of(renderer, ids, stopped=ended == "stop"),
        prompt_ids=prompt.ids,
        token_ids=ids,
        logprobs=tuple(min(value, 0.0) for value in logprobs),
        image_tokens=prompt.image_tokens,
        cut=ended == "length",
    )
    return renderer.read(exact, prompt)


def require(value: Any, kind: type, what: str) -> Any:
    """A value of the right type.

    Raises:
        TypeError: it is of another.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{what} is a {type(value).__name__}, not a {kind.__name__}")
    return value
