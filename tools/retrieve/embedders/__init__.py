"""Embedders: what turns texts and images into vectors, one file each."""
