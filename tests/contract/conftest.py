"""What the contract tests of the providers share."""

import pytest

from llmguard.providers.calling import Providers
from llmguard.providers.tokens import TokenCounter
from tests.support.calls import KEY, Pauses
from tests.support.provider_server import ProviderServer
from tests.support.thorough import unhurried

unhurried()


@pytest.fixture(scope="session")
def tokens():
    return TokenCounter()


@pytest.fixture
def server():
    with ProviderServer() as running:
        yield running


@pytest.fixture
def pauses():
    return Pauses()


@pytest.fixture
async def providers(tokens, pauses):
    running = Providers(
        environ={"UPSTREAM_KEY": KEY}, clock=pauses.clock, tokens=tokens, waiting=pauses.waiting, connection_limit=10
    )
    await running.start()
    yield running
    await running.close()
