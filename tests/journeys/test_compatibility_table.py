"""docs/reference/compatibility.md names the clients, versions and features that are tested, and no others."""

import pytest

from tests.support.compatibility import claim_of, locked_versions, table_rows
from tests.support.gateway import ROOT


def test_table_is_current(request):
    if request.config.getoption("keyword"):
        pytest.skip("only a part of the tests was asked for")
    claims = {claim for item in request.session.items if (claim := claim_of(item)) is not None}
    if not claims:
        pytest.skip("the tests of clients were not asked for")
    tested = {(client, version, feature) for client, package, feature in claims for version in locked_versions(package)}
    rows = table_rows((ROOT / "docs" / "reference" / "compatibility.md").read_text())
    clients = {client for client, _, _ in tested}
    current = {row for row in rows if row[0] in clients}

    assert current == tested, "write it anew with scripts/docs"
    assert set(rows.values()) == {"works"}
