"""What a training is asked to do: a recipe's tables, its rubric, its rules."""
