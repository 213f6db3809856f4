"""The tool `retrieve`."""
