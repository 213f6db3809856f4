"""Whether two images are one: fingerprints, the search for pairs, the closer comparison."""
