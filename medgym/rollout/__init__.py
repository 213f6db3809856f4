"""Rollouts: a policy plays cases, and trajectories come out."""

from medgym.rollout.collection import Tally, collect
from medgym.rollout.episode_loop import OnMessages, roll_out

__all__ = ["OnMessages", "Tally", "collect", "roll_out"]
