"""`python -m medgym` is the command `medgym`."""

import sys

from medgym.cli import main

sys.exit(main())
