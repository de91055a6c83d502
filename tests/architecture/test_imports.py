"""What is heavy is imported where it is used, and nowhere before."""

import subprocess
import sys

import pytest

MODULES = "import sys, {module}; print(*sys.modules)"


@pytest.mark.parametrize(
    ("module", "left_out"),
    [
        pytest.param("llmguard.asgi", {"duckdb", "litellm"}, id="a worker"),
        pytest.param(
            "llmguard.cli.main", {"duckdb", "litellm", "pydantic", "spacy", "tiktoken"}, id="the command line"
        ),
    ],
)
def test_heavy_parts_are_left_out(module, left_out):
    done = subprocess.run(
        [sys.executable, "-c", MODULES.format(module=module)], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert module in loaded
    assert loaded.isdisjoint(left_out)
