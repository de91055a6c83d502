"""Where everything in one run of the tests keeps the compiled rules of the example: compiling takes half a minute."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_VARIABLE = "LLMGUARD_TESTS_COMPILED_RULES"


def compiled_rules() -> Path:
    """Return the folder; processes that are started meanwhile inherit it with the variable."""
    if _VARIABLE not in os.environ:
        folder = tempfile.mkdtemp(prefix="llmguard-rules-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ[_VARIABLE] = folder
    return Path(os.environ[_VARIABLE]) / "cache"


def lend_rules(data: Path) -> None:
    """Let a data folder use what is compiled already, by any process; new rules are kept there for all."""
    compiled_rules().mkdir(mode=0o700, parents=True, exist_ok=True)
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    link = data / "redaction-cache"
    if not link.exists():
        link.symlink_to(compiled_rules())
