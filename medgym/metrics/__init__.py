"""Metrics of what a policy did: where it looked, overlap with gold regions, rates, sight."""
