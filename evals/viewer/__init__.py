"""`medgym view`: a run's episodes as a page."""
