import openai
import pytest

from tests.support import compatibility
from tests.support.gateway import Gateway
from tests.support.journey_registry import a_registry
from tests.support.openid_process import OpenIdProcess
from tests.support.provider_server import ProviderServer


@pytest.fixture(scope="session")
def provider():
    with ProviderServer() as server:
        yield server


@pytest.fixture(scope="session")
def identity_provider():
    with OpenIdProcess() as process:
        yield process


@pytest.fixture(scope="session")
def gateway(tmp_path_factory, provider, identity_provider):
    """One gateway for all journeys that only read and ask."""
    registry = a_registry(provider.base_url) + identity_provider.sections()
    with Gateway(tmp_path_factory.mktemp("gateway"), registry) as gateway:
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
