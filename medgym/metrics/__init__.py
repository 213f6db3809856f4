"""Figures of what a policy did: where it looked, overlap of regions, shares, sight."""
