"""Judges: what plays a policy on cases and says how well it did."""
