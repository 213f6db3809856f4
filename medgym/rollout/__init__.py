"""Rollouts: a policy plays cases, and trajectories come out."""

from medgym.rollout.local import OnMessages, collect, play, rollout

__all__ = ["OnMessages", "collect", "play", "rollout"]
