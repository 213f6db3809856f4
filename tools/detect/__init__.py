"""The tool `detect`."""
