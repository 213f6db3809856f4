"""`medgym check run`: whether all that is in a run's folder is what was written there."""
