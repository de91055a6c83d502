"""Rego in this process: regorus, and what it must never do with a decision.

One engine belongs to the thread that made it: it panics in another. While it evaluates it holds the interpreter and
cannot be interrupted, so that a server asks it in a process of its own (`evaluator.py`); commands use it directly.
"""

import json
import re
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import regorus

RULES: Final = "llmguard.policies"
TESTS: Final = "_test.rego"
_MOST_BYTES: Final = 1 << 30  # of memory; a rule that needs more ends the process, and with it the decision
_PLACE: Final = re.compile(r"--> (?P<file>[^\n]+?):(?P<line>\d+):(?P<column>\d+)\n")
_WORDS: Final = re.compile(r"\nerror: ([^\n]*)")
_PACKAGE: Final = re.compile(r"^\s*package\s+([A-Za-z_][\w.]*)", re.MULTILINE)


@dataclass(eq=False)
class RegoError(Exception):
    """What the engine says against a file; `line` and `column` start at 1."""

    file: str
    line: int
    column: int
    words: str


class Engine:
    """One state of the rules, compiled; for the thread that makes it.

    Attributes:
        packages: the rule packages by name (the last part), with their file.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        """Compile the files: name to text.

        Raises:
            RegoError: a file cannot be parsed.
        """
        self._engine = regorus.Engine()
        self.packages: dict[str, str] = {}
        for name, text in sorted(files.items()):
            _call(partial(self._engine.add_policy, name, text), name)
            package = package_of(text)
            if package.startswith(f"{RULES}.") and not name.endswith(TESTS):
                self.packages[package.removeprefix(f"{RULES}.")] = name

    def decisions(
        self, document: str, at: Callable[[str], None] = lambda _: None
    ) -> tuple[dict[str, Any], dict[str, RegoError]]:
        """Return what each rule package decides about an input document in JSON, and which could not.

        `at` is told each file before it is evaluated.

        Any: JSON that nobody has checked yet.
        """
        self._engine.set_input_json(document)
        decided: dict[str, Any] = {}
        errors: dict[str, RegoError] = {}
        for package, file in self.packages.items():
            at(file)
            try:
                decided[package] = self.value(f"data.{RULES}.{package}.decisions", file)
            except RegoError as error:
                errors[package] = error
        return decided, errors

    def value(self, rule: str, file: str) -> Any:  # Any: JSON
        """Return the value of a rule; None where it is undefined.

        Raises:
            RegoError: it cannot be evaluated.
        """
        value = json.loads(_call(lambda: self._engine.eval_rule_as_json(rule), file))
        return None if value == "<undefined>" else value


def package_of(text: str) -> str:
    """Return the package of a file; empty where it names none."""
    found = _PACKAGE.search(without_remarks(text))
    return found[1] if found else ""


def without_remarks(text: str, *, stand_in: str = " ") -> str:
    """Return Rego with its comments blanked out, and its strings filled with a stand-in; places stay as they are."""
    return "".join(_blanked(text, stand_in))


def _blanked(text: str, stand_in: str) -> Iterator[str]:
    for part in re.finditer(r'"(?:\\.|[^"\\\n])*"|`[^`]*`|#[^\n]*|[^"`#]+|["`]', text):
        shown = part[0]
        is_text = shown[0] in '"`' and len(shown) > 1
        if shown[0] == "#":
            yield " " * len(shown)
        else:
            yield re.sub(r"[^\n]", stand_in, shown) if is_text else shown


def _call(evaluate: Any, file: str) -> Any:  # Any: a bound method of an extension module, and what it returns
    try:
        return evaluate()
    except BaseException as error:  # a panic of Rust is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        said = str(error)
        place, words = _PLACE.search(said), _WORDS.search(said)
        said = words[1] if words else said.partition("\n")[0][:200]
        if place is None:
            raise RegoError(file, 1, 1, said) from None
        raise RegoError(place["file"], int(place["line"]), int(place["column"]), said) from None


def serve() -> None:
    """Answer a server that reads and writes lines of JSON: first the files, then one input document after another.

    Before each file it says that it is at it, so that whoever gives up knows which one took too long.

    A decision that takes too long ends this process, even if nobody waits for it any more.
    """
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    given = json.loads(sys.stdin.readline() or "{}")
    try:
        engine = Engine(given.get("files", {}))
    except RegoError as error:
        _say({"errors": [_plain(error)]})
        return
    _say({"packages": engine.packages})
    for line in sys.stdin:
        asked = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, asked["seconds"])  # its default action works while the engine evaluates
        decided, errors = engine.decisions(json.dumps(asked["document"]), lambda file: _say({"at": file}))
        signal.setitimer(signal.ITIMER_REAL, 0)
        _say({"decided": decided, "errors": [_plain(error) for error in errors.values()]})


def _plain(error: RegoError) -> dict[str, Any]:  # Any: texts and whole numbers
    return {"file": error.file, "line": error.line, "column": error.column, "words": error.words}


def _say(answer: Any) -> None:  # Any: JSON
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
