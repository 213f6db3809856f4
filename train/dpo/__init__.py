"""Direct preference optimisation on pairs of episodes."""
