"""An upstream that passes questions on to a real engine until a test has it misbehave."""

from collections.abc import Iterator

import pytest

from tests.range_cache.relay import Relay
from tests.support.engine import Engine
from tests.support.fake_upstream import FakeUpstream


@pytest.fixture
def relay(prometheus: Engine) -> Relay:
    return Relay(prometheus.url)


@pytest.fixture
def upstream(relay: Relay) -> Iterator[FakeUpstream]:
    with FakeUpstream(relay) as found:
        yield found
