"""Regions: how an answer names them, when it is right, and how far off its outline is."""
