"""Whether cases are what they claim: what a check of any source of cases looks at."""
