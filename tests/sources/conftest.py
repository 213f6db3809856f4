"""What the tests of sources share."""

from collections.abc import Iterator

import pytest

from tests.serving.hub import Hub, running_hub


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub on the loopback; `tests.serving.hub.fetched_cases` publishes a fixture on it."""
    with running_hub() as server:
        yield server
