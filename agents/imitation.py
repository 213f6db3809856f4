"""Demonstrations in a model's own tokens: what another policy writes, as the model would have."""

from collections.abc import Sequence
from typing import Any

from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling

from .rendering import Renderer


class Imitation(Policy):
    """Plays as `policy` does, with the tokens that a renderer makes of its words."""

    kind = "demonstration"

    def __init__(self, renderer: Renderer, policy: Policy) -> None:
        self._renderer = renderer
        self._policy = policy
        self.spec = policy.spec
        self.needs_gold = policy.needs_gold
        self.vision_token_ids = renderer.vision_token_ids

    def for_case(self, case: Any) -> Policy:
        """The player of one case."""
        return Imitation(self._renderer, self._policy.for_case(case))

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The other policy's reply, in tokens."""
        prompt = self._renderer.prompt(conversation)
        reply = await self._policy.act(conversation, sampling)
        ids = self._renderer.encode_reply(reply.text)
        return Reply(
            # Where the template opens a thought, the text begins with it.
            text=self._renderer.decode_reply(ids) if self._renderer.opening else reply.text,
            prompt_ids=prompt.ids,
            token_ids=ids,
            image_tokens=prompt.image_tokens,
        )
