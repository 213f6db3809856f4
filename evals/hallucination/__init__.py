"""Hallucination: how severe wrong statements are, questions about what is not there, and answers
that contradict what was looked at."""
