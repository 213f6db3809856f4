"""Phantom studies: volumes, clips and slides, whose first view shows where to look and not what."""
