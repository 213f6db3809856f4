"""The page of an evaluation: its figures, charts and failures in one file without a network."""
