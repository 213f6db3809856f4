"""How a policy is judged: scorers, judges, suites, and the viewer of runs."""
