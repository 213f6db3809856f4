"""What tools with a model share: finding a checkpoint, loading it once, and what it is shown."""
