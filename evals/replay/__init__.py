"""Replies of policies kept by what they answer, so that a second run asks nothing again."""
