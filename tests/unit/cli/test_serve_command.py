import errno
import os
import subprocess
import sys
import time
from pathlib import Path

from llmguard.cli import serve
from llmguard.settings import Settings

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


def test_ingester_is_started_again_though_there_was_no_room_for_a_process_at_first(tmp_path, monkeypatch):
    started, tried, popen = [], [], subprocess.Popen

    def short_of_processes(*command, **how):
        tried.append(command)
        if len(tried) == 2:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        started.append(popen(*command, **how))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", short_of_processes)
    settings = Settings(ROOT / "registry.yaml", ROOT / "redaction", tmp_path)
    with serve._ingester(settings):
        started[0].kill()
        give_up_at = time.monotonic() + 60
        while len(started) < 2:
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
    assert started[1].returncode is not None
