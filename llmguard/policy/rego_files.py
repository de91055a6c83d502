"""The folder of rules: its files, its digest, and everything wrong in it with place and fix."""

import difflib
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from llmguard.policy.engine import RULES, TESTS, package_of, without_remarks
from llmguard.policy.evaluator import COMMAND, environment
from llmguard.policy.facts import example_document, known_paths

_MOST_BYTES: Final = 1 << 20
_CHECK_SECONDS: Final = 20.0
_START_SECONDS: Final = 100.0  # within which a process begins, also on a machine that has too much to do
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}\.rego")
_INPUT: Final = re.compile(r"\binput\b((?:\s*\.\s*[A-Za-z_]\w*)*)(\s*\[)?(\s+as\b)?")
_DECISIONS: Final = re.compile(r"^decisions\s+contains\b", re.MULTILINE)
_RULE_NAME: Final = re.compile(r"^(?:default\s+)?([A-Za-z_]\w*)(?!\w*\()", re.MULTILINE)
_NEGATION: Final = re.compile(r"\bnot\s+([^\n;]*)")
_ATOM: Final = r"-?[\w.]+"
_LIST: Final = rf"[{{\[]\s*{_ATOM}(?:\s*,\s*{_ATOM})*\s*[}}\]]"
_ALONE: Final = re.compile(r"[A-Za-z_]\w*(?:\.\w+|\[[\w.]+\])*")
_SIMPLE: Final = re.compile(
    rf"{_ALONE.pattern}|[\w.]+\(\s*{_ATOM}(?:\s*,\s*{_ATOM})*\s*\)|{_ATOM}\s*(?:[=!<>]=|[<>]|\bin\b)\s*(?:{_ATOM}|{_LIST})"
)
_REFERENCE: Final = re.compile(r"(?<![\w.])[A-Za-z_][\w.]*")
# What gives another answer to the same facts, or leaves the machine: a decision could not be kept, nor made again.
_UNSTEADY: Final = re.compile(
    r"\b(?:http\.send|net\.lookup_ip_addr|time\.now_ns|rand\.intn|uuid\.rfc4122|opa\.runtime|io\.jwt\.\w+|trace)\s*\("
)


@dataclass(frozen=True, slots=True)
class PolicyFinding:
    """One thing to correct in a file of rules; `line` and `column` start at 1."""

    file: str
    line: int
    column: int
    message: str
    fix: str

    def __str__(self) -> str:
        """Return one line that editors and terminals make clickable."""
        return f"{self.file}:{self.line}:{self.column}: {self.message}; {self.fix}"


@dataclass(frozen=True, slots=True)
class RuleSet:
    """One state of the folder: file names to texts, tests left out. No files: no rules."""

    files: Mapping[str, str]

    @property
    def digest(self) -> str:
        """The SHA-256 of all files, in hex; empty without rules."""
        if not self.files:
            return ""
        return hashlib.sha256(json.dumps(dict(sorted(self.files.items()))).encode()).hexdigest()

    @property
    def packages(self) -> dict[str, str]:
        """The rule packages by the last part of their name, with their file."""
        named = {name: package_of(text) for name, text in self.files.items()}
        return {
            package.removeprefix(f"{RULES}."): name
            for name, package in named.items()
            if package.startswith(f"{RULES}.") and not name.endswith(TESTS)
        }


@dataclass(frozen=True, slots=True)
class CheckedPolicies:
    """What a folder of rules is worth; `tests` are the files of its cases."""

    rules: RuleSet
    tests: Mapping[str, str]
    findings: tuple[PolicyFinding, ...]


def check_policies(folder: Path) -> CheckedPolicies:
    """Return the rules of a folder with all that is wrong in them; a folder that is absent has none.

    The engine runs in a process of its own, so that a rule without end ends there.
    """
    files, findings = _read(folder)
    for name, text in files.items():
        findings += form_findings(name, text)
    tests = {name: text for name, text in files.items() if name.endswith(TESTS)}
    rules = RuleSet({name: text for name, text in files.items() if name not in tests})
    if not findings and files:
        findings += _engine_findings(rules.files)
        findings += [] if findings else _engine_findings(files)
    return CheckedPolicies(rules, tests, tuple(findings))


def _read(folder: Path) -> tuple[dict[str, str], list[PolicyFinding]]:
    files: dict[str, str] = {}
    findings = []
    try:
        # `glob` would find nothing in a folder that may not be read, and nothing means that there are no rules.
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".rego") if folder.exists() else []
        for path in paths:
            source = path.read_bytes()
            if len(source) > _MOST_BYTES:
                findings.append(PolicyFinding(path.name, 1, 1, "the file has more than 1 MiB", "split it"))
                continue
            files[path.name] = source.decode()
    except OSError as error:
        findings.append(PolicyFinding(folder.name, 1, 1, f"cannot be read: {error.strerror}", "check its rights"))
    except UnicodeDecodeError:
        findings.append(PolicyFinding(path.name, 1, 1, "the file is not UTF-8 text", "save it as UTF-8"))
    return files, findings


def form_findings(name: str, text: str) -> Iterator[PolicyFinding]:
    """Yield what llmguard asks of a file beyond what Rego does."""
    if not _NAME.fullmatch(name):
        fix = "use small letters, digits and _, as in external_storage.rego"
        yield PolicyFinding(name, 1, 1, "the name of the file is none that a package can have", fix)
        return
    code = without_remarks(text)
    package, expected = package_of(text), f"{RULES}.{name.removesuffix('.rego')}"
    is_rule = not name.endswith(TESTS) and package.startswith(RULES)
    if package.startswith(RULES) and package != expected:
        yield _at(name, text, text.find("package"), f"the package is {package}", f"write: package {expected}")
    elif not package.startswith("llmguard."):
        fix = f"write: package {expected} (or another below llmguard. for what rules share)"
        yield _at(name, text, max(text.find("package"), 0), f"the package is {package or 'not named'}", fix)
    if is_rule and not _DECISIONS.search(code):
        yield PolicyFinding(name, 1, 1, "it decides nothing", "add: decisions contains {…} if {…}")
    for found in _UNSTEADY.finditer(code):
        fix = "decide by facts alone; the time is in input.time"
        yield _at(name, text, found.start(), f"{found[0].rstrip('( ')} gives no steady answer to the same facts", fix)
    known = known_paths()
    for found in _INPUT.finditer(code):
        yield from _input_findings(name, text, found, known, is_rule=is_rule)
    if not name.endswith(TESTS):
        yield from _negation_findings(name, text, known)


def _input_findings(
    name: str, text: str, found: re.Match[str], known: set[str], *, is_rule: bool
) -> Iterator[PolicyFinding]:
    """Yield a fact that does not exist: a rule over it would never apply, and so allow."""
    parts = re.findall(r"\w+", found[1])[:2]
    path = ".".join(parts)
    if found[3] and not is_rule:
        return  # `with input as …` and `with input.app.owner as …` of cases
    if found[2] and len(parts) < len(("app", "owner")):
        yield _at(name, text, found.start(), "a fact is named in brackets", "write it with dots, as in input.app.owner")
    elif path and path not in known:
        near = difflib.get_close_matches(path, known, n=1)
        fix = f"did you mean input.{near[0]}?" if near else "docs/reference/policy-input.md has all facts"
        yield _at(name, text, found.start(), f"there is no input.{path}", fix)
    elif is_rule and len(parts) < len(("app", "owner")):
        fix = "name each fact, as in input.app.owner, so that a slip in its name is found"
        yield _at(name, text, found.start(), "facts are taken as a whole", fix)


def _negation_findings(name: str, text: str, known: set[str]) -> Iterator[PolicyFinding]:
    """Yield `not` over an operation on something that may be undefined.

    Open Policy Agent takes the operands out of the negation, so that nothing holds when one of them is undefined; the
    embedded engine says that the negation holds. An exemption could be wider here than there.
    """
    code = without_remarks(text, stand_in="0")
    rules = set(_RULE_NAME.findall(code))
    for found in _NEGATION.finditer(code):
        said = _up_to_its_end(found[1])
        simple = _SIMPLE.fullmatch(said)
        operands = _REFERENCE.findall(re.sub(r"[\w.]+\(", "(", said)) if simple and not _ALONE.fullmatch(said) else []
        doubtful = [part for part in operands if part in rules or ("." in part and part[6:] not in known)]
        if simple is None or doubtful:
            fix = "give it a rule of its own, as in `found if …`, and write `not found`"
            what = doubtful[0] if doubtful else "more than one operation"
            yield _at(name, text, found.start(), f"`not` is over {what}, which may be undefined", fix)


def _up_to_its_end(said: str) -> str:
    """Return an expression without the brackets behind it that were opened before it."""
    depth = 0
    for index, sign in enumerate(said):
        depth += (sign in "([{") - (sign in ")]}")
        if depth < 0:
            return said[:index].strip()
    return said.strip()


def _at(name: str, text: str, offset: int, message: str, fix: str) -> PolicyFinding:
    line = text.count("\n", 0, offset) + 1
    return PolicyFinding(name, line, offset - text.rfind("\n", 0, offset), message, fix)


def _engine_findings(files: Mapping[str, str]) -> list[PolicyFinding]:
    """Return what the engine says: when it reads the files, and when it decides about an example."""
    asked = [{"files": dict(files)}, {"document": example_document(), "seconds": _CHECK_SECONDS}]
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            COMMAND,
            input="".join(json.dumps(line) + "\n" for line in asked),
            capture_output=True,
            text=True,
            timeout=_START_SECONDS + _CHECK_SECONDS,
            check=False,
            env=environment(),
        )
        said = [json.loads(line) for line in done.stdout.splitlines()]
    except subprocess.TimeoutExpired:
        said = []
    answers = [answer for answer in said if "at" not in answer]
    errors = [error for answer in answers for error in answer.get("errors", ())]
    if not errors and len(answers) < len(asked):
        at = next((answer["at"] for answer in reversed(said) if "at" in answer), None)
        if at is None:
            fix = "try again; if it lasts, see whether the machine has memory and processor time left"
            return [PolicyFinding(next(iter(files)), 1, 1, "the engine that reads the rules did not answer", fix)]
        fix = "look for a rule that goes through all pairs of something long"
        return [PolicyFinding(at, 1, 1, "the rules do not end in time on the example facts", fix)]
    return [_finding(error) for error in errors]


def _finding(error: dict[str, Any]) -> PolicyFinding:  # Any: texts and whole numbers
    fix = "correct it; https://www.openpolicyagent.org/docs/policy-language explains Rego"
    return PolicyFinding(error["file"], error["line"], error["column"], error["words"], fix)
