"""The commands of the ground floor, each a file; `medgym.cli` finds them through the registry."""
