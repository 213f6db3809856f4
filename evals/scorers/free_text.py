"""Free text of a few words: the answer must equal the gold text, or one of the accepted texts.

That is strict: "the left lower lobe" is not "left lower lobe".
"""

from .exact import Exact


class FreeText(Exact):
    """Right where the answer equals a gold text (case, white space, final full stop aside)."""

    version = "4"
