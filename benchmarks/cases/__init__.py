"""`bench cases`: tables of many cases beside the library `datasets` on the same files."""

from .measure import cases as cases
