"""Preference pairs: two episodes of one case, the first of which is to be preferred."""

from .build import build_pairs as build_pairs
from .builder import Group as Group
from .builder import PairBuilder as PairBuilder
from .builder import PairSource as PairSource
from .folder import PairFolder as PairFolder
from .pair import Pair as Pair

__all__ = ["Group", "Pair", "PairBuilder", "PairFolder", "PairSource", "build_pairs"]
