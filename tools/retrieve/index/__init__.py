"""The index: how it is built, what is in it, how it is searched."""
