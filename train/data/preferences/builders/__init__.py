"""The builders of pairs that are shipped, one subject a file."""
