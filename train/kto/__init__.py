"""KTO: preferences from single episodes, each right or wrong, without pairs."""
