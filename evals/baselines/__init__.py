"""What a score is worth beside those of policies that never look: computed from the cases alone."""
