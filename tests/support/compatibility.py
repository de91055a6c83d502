"""What docs/reference/compatibility.md says, out of the tests that prove it.

A test names its client and its feature with the markers `client` and `feature`; what came of it goes to the file that
`LLMGUARD_CLIENT_RESULTS` names, one JSON object a line. Stdlib only.
"""

import json
import os
import tomllib
from importlib.metadata import PackageNotFoundError, version

from tests.support.gateway import ROOT

RESULTS_VARIABLE = "LLMGUARD_CLIENT_RESULTS"
NODE = ROOT / "tests" / "clients" / "node"
_NPM = "npm:"


def claim_of(item) -> tuple[str, str | None, str] | None:
    """Return client, package and feature that a test speaks for, if any; the closest marker counts."""
    client, feature = item.get_closest_marker("client"), item.get_closest_marker("feature")
    if client is None or feature is None:
        return None
    name, package = (*client.args, None)[:2]
    return name, package, feature.args[0]


def record(item, outcome: str) -> None:
    """Append what came of a test to the file of results, if there is one and the test speaks for a client."""
    claim = claim_of(item)
    if claim is None or RESULTS_VARIABLE not in os.environ:
        return
    client, package, feature = claim
    row = {"client": client, "version": installed_version(package), "feature": feature, "outcome": outcome}
    line = json.dumps(row).encode() + b"\n"
    file = os.open(os.environ[RESULTS_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)  # one write: xdist's workers share the file
    finally:
        os.close(file)


def installed_version(package: str | None) -> str:
    """Return the version of a package here, or of a Node package in its lock file; empty for what has none."""
    if package is None:
        return ""
    if package.startswith(_NPM):
        return node_versions()[package.removeprefix(_NPM)]
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def locked_versions(package: str | None) -> set[str]:
    """Return the versions of a package that the tests run with, by the lock files."""
    if package is None:
        return {""}
    if package.startswith(_NPM):
        return {node_versions()[package.removeprefix(_NPM)]}
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    return {one["version"] for one in packages if one["name"] == package}


def node_versions() -> dict[str, str]:
    """Return the locked version of each Node package."""
    packages = json.loads((NODE / "package-lock.json").read_text())["packages"]
    return {path.removeprefix("node_modules/"): one["version"] for path, one in packages.items() if "version" in one}


def table_rows(text: str) -> dict[tuple[str, str, str], str]:
    """Return the rows of the document: client, version and feature to result."""
    rows: dict[tuple[str, str, str], str] = {}
    client, versions = "", []
    for line in text.splitlines():
        if line.startswith("## "):
            client = line.removeprefix("## ").strip()
        elif line.startswith("| feature"):
            versions = [cell.strip() for cell in line.strip("|").split("|")[1:]]
        elif line.startswith("| ") and versions:
            feature, *results = (cell.strip() for cell in line.strip("|").split("|"))
            rows |= {
                (client, "" if version == "result" else version, feature): result
                for version, result in zip(versions, results, strict=True)
            }
    return rows
