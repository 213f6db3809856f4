"""What every step of training is held to, and what stops it."""
