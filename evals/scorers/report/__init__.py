"""Reports: what their sentences state, what of it is right, and how they are compared by words."""
