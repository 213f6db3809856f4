"""What became of each case of an evaluation: one row for each, stored, read and compared."""
