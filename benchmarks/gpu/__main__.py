"""`python -m medgym.benchmarks.gpu`."""

from .measured import main

raise SystemExit(main())
