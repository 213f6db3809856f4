"""A training's run: its stages, its folder, its judging, its report."""
