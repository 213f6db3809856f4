"""What is measured of answers of one type only: of numbers, of regions, of reports."""
