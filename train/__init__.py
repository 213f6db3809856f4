"""How a policy learns: the tiny model, supervised cold start, GRPO, recipes."""
