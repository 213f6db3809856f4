"""Readers of what an index is built of: one file for each form."""
