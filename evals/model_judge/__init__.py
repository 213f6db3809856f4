"""A policy as a judge: it grades stored answers beside the rules, and changes nothing of theirs."""
