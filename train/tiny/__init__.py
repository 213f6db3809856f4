"""The built-in tiny model and how its base is made."""
