"""What a reply says that is not in medgym's own form: read leniently, for evaluation only.

Rewards stay strict. Nothing here guesses: no substring, no nearest option, no first letter that
happens to stand in a sentence.
"""
