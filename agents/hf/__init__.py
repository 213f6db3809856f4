"""Policies over a transformers model in this process."""
