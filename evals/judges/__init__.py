"""Judges: each runs a policy on cases and says how well it did."""
