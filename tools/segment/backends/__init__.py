"""The back ends of `segment`, each a file that defines `BACKEND`; its name is that of the file."""
