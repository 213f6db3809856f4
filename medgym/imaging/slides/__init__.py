"""Whole slides: images too large for memory, read by region and level through OpenSlide."""
