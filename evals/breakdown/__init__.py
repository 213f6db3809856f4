"""Outcomes broken down: accuracy by kind of case, and how a confidence fits to the answers."""
