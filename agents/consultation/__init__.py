"""A policy of several roles: triage, specialists, an attending physician."""
