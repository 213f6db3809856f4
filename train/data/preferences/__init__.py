"""Preference pairs: two episodes of one case, the first of which is to be preferred."""

from .builder import Group as Group
from .builder import PairBuilder as PairBuilder
from .builder import PairSource as PairSource
from .pair import Pair as Pair

__all__ = ["Group", "Pair", "PairBuilder", "PairSource"]
