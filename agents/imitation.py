"""Demonstrations in a model's own tokens: what another policy writes, as the model would have."""

from collections.abc import Sequence

from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling, WrappedPolicy

from .rendering import Renderer


class Imitation(WrappedPolicy):
    """Plays as `policy` does, with the tokens that a renderer makes of its words."""

    kind = "demonstration"
    version = ""

    def __init__(self, renderer: Renderer, policy: Policy) -> None:
        super().__init__(policy)
        self._renderer = renderer
        self.vision_token_ids = renderer.vision_token_ids

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The other policy's reply, in tokens."""
        prompt = self._renderer.prompt(conversation)
        reply = await self.policy.act(conversation, sampling)
        ids = self._renderer.encode_reply(reply.text)
        made = Reply(
            # Where the template opens a thought, the text begins with it.
            text=self._renderer.decode_reply(ids) if self._renderer.rewrites else reply.text,
            prompt_ids=prompt.ids,
            token_ids=ids,
            image_tokens=prompt.image_tokens,
        )
        return self._renderer.read(made, prompt)
