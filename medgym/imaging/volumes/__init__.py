"""Volumes: voxels with a place in the patient, and the planes through them."""
