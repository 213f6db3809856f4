"""One policy on the same cases with its tools, without them, and with ideal looks given."""
