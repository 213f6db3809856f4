"""GRPO over medgym's rollouts."""
