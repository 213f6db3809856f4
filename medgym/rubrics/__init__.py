"""Rubrics of published papers, one file for each: the source, the formula, and each departure."""
