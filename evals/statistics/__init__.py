"""What figures of an evaluation are worth: intervals, comparisons, power, calibration.

Cases of one group (a patient, an image) are not independent, so groups are what is resampled,
flipped and counted everywhere here.
"""
