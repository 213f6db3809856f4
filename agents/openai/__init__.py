"""Policies behind an endpoint that speaks OpenAI's protocol."""
