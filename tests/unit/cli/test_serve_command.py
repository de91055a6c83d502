import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_what_cannot_be_loaded_ends_the_start_with_words_and_not_with_abort(tmp_path):
    (tmp_path / "spacy.py").write_text('raise RuntimeError("no such library")')
    command = [Path(sys.executable).parent / "llmguard", "serve", "--port", "0", "--data", tmp_path / "data"]
    places = ["--registry", ROOT / "registry.yaml", "--redaction", ROOT / "redaction"]

    done = subprocess.run(
        [*command, *places],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 3
    assert "no such library" in done.stderr
    assert "what is written above says why" in done.stderr
