"""Rules in Rego for tests, and Open Policy Agent itself as their judge."""

from collections.abc import Mapping
from pathlib import Path

from llmguard.policy.engine import Engine
from llmguard.policy.facts import example_document
from llmguard.policy.judge import verdict_of
from llmguard.policy.rego_files import RuleSet

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "policies"


def shipped_files():
    return {path.name: path.read_text() for path in sorted(SHIPPED.glob("*.rego"))}


def a_document(app=(), preset=(), request=(), time=()):
    """Return whole facts with changes."""
    parts = {"app": app, "preset": preset, "request": request, "time": time}
    return {part: fields | dict(parts[part]) for part, fields in example_document().items()}


def rule_packages(files: Mapping[str, str]):
    return RuleSet({name: text for name, text in files.items() if not name.endswith("_test.rego")}).packages


def embedded_verdict(engine: Engine, packages, text: str):
    """Return what our engine says, as the gateway understands it."""
    decided, errors = engine.decisions(text)
    failed = [{"file": error.file, "line": error.line} for error in errors.values()]
    return verdict_of({"decided": decided, "errors": failed}, packages)


def opa_verdict(opa, packages, document):
    """Return what Open Policy Agent says about the same files."""
    import opa_bindings  # noqa: PLC0415 - not on every platform

    decided, failed = {}, []
    for name, file in packages.items():
        try:
            decided[name] = opa.eval_document(f"llmguard.policies.{name}.decisions", document)
        except opa_bindings.OpaError:  # its built-in functions are strict, so that an error is an error
            failed.append({"file": file, "line": 0})
    return verdict_of({"decided": decided, "errors": failed}, packages)
