"""Rollouts: a policy plays cases, and trajectories come out."""

from medgym.rollout.collecting import Tally, collect
from medgym.rollout.playing import OnMessages, rollout

__all__ = ["OnMessages", "Tally", "collect", "rollout"]
