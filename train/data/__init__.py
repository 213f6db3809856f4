"""What a policy learns from: the order of cases, curricula, demonstrations."""
