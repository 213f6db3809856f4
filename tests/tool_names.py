"""The tools that a bare name makes; the others need an option, such as which model."""

import medgym

NEED_OPTIONS = frozenset(("classify", "detect", "report"))

BARE = tuple(name for name in medgym.names("tools") if name not in NEED_OPTIONS)
