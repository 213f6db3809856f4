"""`bench serving URL`: evaluations through a server, beside a plain client and libraries."""
