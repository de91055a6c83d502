"""Runs commands on real files, in this process."""

import json
from pathlib import Path

import pytest

from llmguard.cli import main
from tests.support.compiled_rules import lend_rules

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def registry(tmp_path):
    path = tmp_path / "registry.yaml"
    path.write_text((ROOT / "registry.yaml").read_text())
    return path


@pytest.fixture
def llmguard(tmp_path, registry, capsys, monkeypatch):
    """Runs a command and returns its exit code, what it printed and what it said."""

    lend_rules(tmp_path / "data")

    def run(*words, places=True):
        files = [f"--registry={registry}", f"--redaction={ROOT / 'redaction'}", f"--data={tmp_path / 'data'}"]
        with monkeypatch.context() as patched:
            patched.setattr("sys.argv", ["llmguard", *words, *(files if places else [])])
            with pytest.raises(SystemExit) as ended:
                main.main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return run


@pytest.fixture
def ask(llmguard):
    """Runs a command with --json and returns what it printed."""

    def run(*words):
        code, out, err = llmguard(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    return run
