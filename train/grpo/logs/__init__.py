"""What GRPO writes down while it trains: metrics, trajectories, tables of episodes, curves."""
