"""Phantoms: procedural cases, and the proof that an overview hides the answer."""
