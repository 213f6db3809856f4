"""Pixels: the files of a study, pictures drawn when they are needed, drawing for people."""
