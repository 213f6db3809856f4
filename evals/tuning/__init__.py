"""A prompt of its own for each policy: candidates, the search on validation cases, the record."""
