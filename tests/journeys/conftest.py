import openai
import pytest

from tests.support import compatibility
from tests.support.gateway import Gateway
from tests.support.journey_registry import a_registry
from tests.support.provider_server import ProviderServer


@pytest.fixture(scope="session")
def provider():
    with ProviderServer() as server:
        yield server


@pytest.fixture(scope="session")
def gateway(tmp_path_factory, provider):
    """One gateway for all journeys that only read and ask."""
    with Gateway(tmp_path_factory.mktemp("gateway"), a_registry(provider.base_url)) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def key(gateway):
    return gateway.issue_key("helpdesk")


@pytest.fixture
def client(gateway, key):
    with openai.OpenAI(base_url=gateway.base_url, api_key=key) as client:
        yield client


@pytest.fixture(autouse=True)
def _ordinary_provider(provider):
    yield
    provider.script("")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" or not report.passed:
        compatibility.record(item, report.outcome)
    return report
