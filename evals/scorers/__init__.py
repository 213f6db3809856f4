"""Scorers: what counts as a right answer, one file for each way to compare."""
