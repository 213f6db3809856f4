"""Corruptions of images after MedMNIST-C, by modality and at five severities."""
