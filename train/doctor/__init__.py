"""`medgym doctor`: does a model see, and does nothing get lost on the way."""
