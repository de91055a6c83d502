"""Size and shape of our own house: a file that outgrows its purpose is split in the same change."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "llmguard").rglob("*.py"))
MOST_FILE_LINES = 400
MOST_FUNCTION_LINES = 60
MOST_PIPELINE_LINES = 200
MOST_FILES_A_REQUEST = 40
STEPS = ("authenticate", "resolve", "decide", "redact", "reserve", "call", "settle", "restore", "trace")


def named(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_file_stays_readable(path):
    assert len(path.read_text().splitlines()) <= MOST_FILE_LINES


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_functions_stay_readable(path):
    functions = (
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    too_long = [node.name for node in functions if node.end_lineno - node.lineno + 1 > MOST_FUNCTION_LINES]

    assert too_long == []


def test_nine_steps_are_in_one_short_file():
    text = (ROOT / "llmguard/gateway/pipeline.py").read_text()

    assert len(text.splitlines()) < MOST_PIPELINE_LINES
    assert [f"# {number}" in text for number in range(1, 7)] == [True] * 6


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name == "__init__.py"], ids=named)
def test_init_is_one_docstring(path):
    body = ast.parse(path.read_text()).body

    assert len(body) == 1
    assert isinstance(body[0].value.value, str)


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_names_say_what_a_module_is_for(path):
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc", "manager"}


def test_each_test_file_has_a_name_of_its_own():
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]  # pytest imports them by it

    assert sorted(names) == sorted(set(names))


def test_compromised_releases_can_never_be_locked():
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    [locked] = [package["version"] for package in lock["package"] if package["name"] == "litellm"]

    assert locked not in {"1.82.7", "1.82.8", "1.107.0"}


def test_every_locked_package_has_hashes():
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    files = [
        file
        for package in lock["package"]
        for file in [*package.get("wheels", []), *filter(None, [package.get("sdist")])]
    ]

    assert len(files) > 100
    assert all(file["hash"].startswith("sha256:") for file in files)


def test_project_stands_alone():
    shared = "../" + "shared"
    texts = [path for path in ROOT.rglob("*") if path.suffix in {".py", ".md", ".yaml", ".toml"} and path.is_file()]
    own = [path for path in texts if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)]

    assert [named(path) for path in own if shared in path.read_text(errors="ignore")] == []
