"""Published sets of questions about one image each."""
