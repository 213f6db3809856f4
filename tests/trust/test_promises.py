"""Every promise of docs/trust.md names tests that exist."""

import re

from tests.trust.test_planted_faults import PAGE

ROOT = PAGE.parents[1]


def test_every_promise_names_tests_that_exist() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    named = [path for row in rows for path in re.findall(r"`(tests/[^`]+)`", row)]
    assert len(named) > 30
    assert [path for path in named if not (ROOT / path).is_file()] == []
