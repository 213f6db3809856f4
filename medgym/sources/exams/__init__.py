"""Published sets of questions with options."""
