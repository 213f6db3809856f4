"""The tool `classify`."""
