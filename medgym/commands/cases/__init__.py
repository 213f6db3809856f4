"""The command `medgym cases`: one file for each of its sub-commands."""
