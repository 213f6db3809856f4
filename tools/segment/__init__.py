"""The tool `segment`."""
