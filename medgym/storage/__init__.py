"""What is on a disk: trajectories, a run's folder, adapters."""
