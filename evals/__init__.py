"""How a policy is judged: suites and the one definition of each statistic."""
