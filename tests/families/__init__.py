"""Tiny models of the eight families that training knows, of random weights, made without network.

Each is the family's real architecture class with its real processor, image processor and chat
template; only sizes are small, and the tokenizer spells bytes. What is peculiar to a family (where
its template puts images, how many tokens one becomes, what its model takes) is therefore there.
The templates of InternVL, GLM-4V and LLaVA-OneVision, which TRL does not ship, are written anew to
write the same.
"""

from .build import CACHED, FAMILIES, blind, build

__all__ = ["CACHED", "FAMILIES", "blind", "build"]
