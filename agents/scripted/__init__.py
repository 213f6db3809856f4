"""Policies that follow a script: the oracle, baselines, specialists of a consultation."""
