"""De-identification: images without what tells whose they are, and a report of what was done."""
