"""The commands of judging and of looking at runs."""
