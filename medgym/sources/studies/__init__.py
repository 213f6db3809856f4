"""Published sets of volumes, of several images, and of reports."""
