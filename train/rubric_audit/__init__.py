"""`medgym train audit`: what canned cheats earn under a rubric."""
