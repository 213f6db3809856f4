"""NIfTI: a volume in one file."""
