"""Checkpoints and LoRA adapters."""
