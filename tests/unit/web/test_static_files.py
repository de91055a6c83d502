"""Style and scripts: packed, kept by browsers for as long as they are what they were, and nothing else."""

import gzip
import http.client

import pytest

from llmguard.web.static_files import static_files, static_url
from tests.support.served import Served


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("data")) as served:
        yield served


def get(served, path, **headers):
    connection = http.client.HTTPConnection(served.base_url.removeprefix("http://").removesuffix("/v1"), timeout=60)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


@pytest.mark.parametrize("name", static_files())
def test_file_is_served_packed_to_those_who_take_that(served, name):
    status, headers, packed = get(served, static_url(name), accept_encoding="gzip, br")
    plain = get(served, static_url(name))

    assert (status, headers["content-encoding"], headers["vary"]) == (200, "gzip", "Accept-Encoding")
    assert gzip.decompress(packed) == plain[2]
    assert plain[1]["content-encoding"] is None


def test_file_is_kept_for_good_only_under_the_address_of_its_content(served):
    kept = get(served, static_url("style.css"))[1]["cache-control"]
    asked_again = get(served, "/static/style.css?0123456789ab")[1]["cache-control"]

    assert "immutable" in kept
    assert asked_again == "public, max-age=600"


@pytest.mark.parametrize("name", ["htmx.LICENSE.txt", "..%2fpages.py", "style.css.gz"])
def test_other_files_are_not_there(served, name):
    assert get(served, f"/static/{name}")[0] == 404


def test_style_and_scripts_of_a_page_are_small():
    assert sum(len(file.packed) for file in static_files().values()) < 30_000
    assert sum(len(file.content) for file in static_files().values()) < 75_000
