"""The tool `calculate`."""
