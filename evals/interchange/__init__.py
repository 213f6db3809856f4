"""Evaluations in the forms of other harnesses: logs of inspect_ai, results of lmms-eval, tasks."""
