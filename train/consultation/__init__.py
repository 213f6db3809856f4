"""The training of a consultation's roles."""
