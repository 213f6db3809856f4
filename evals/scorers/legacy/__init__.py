"""What published harnesses count as right, faults included, to compare with what papers report."""
