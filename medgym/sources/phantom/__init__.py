"""Phantoms: cases drawn by procedure, and the proof that an overview hides the answer."""
