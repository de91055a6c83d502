"""How many of our files one chat completion goes through."""

import subprocess
import sys
from pathlib import Path

from tests.support.compiled_rules import lend_rules

ROOT = Path(__file__).resolve().parents[2]
MOST_FILES = 40
PROGRAM = Path(__file__).parent / "one_completion.py"


def test_one_chat_completion_goes_through_few_of_our_files(tmp_path):
    lend_rules(tmp_path)
    done = subprocess.run([sys.executable, PROGRAM, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True)
    files = done.stdout.split()

    assert "llmguard/gateway/pipeline.py" in files
    assert len(files) <= MOST_FILES, files
