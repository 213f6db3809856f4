"""What `check_tool` and `medgym check tool` try on a tool, check by check."""
