"""Free text, of a few words or a report. So far the answer must equal the gold text.

That is strict: "the left lower lobe" is not "left lower lobe".
"""

from .exact import Exact


class FreeText(Exact):
    """Right where the answer equals the gold text (case, white space, final full stop aside)."""

    version = "1"
