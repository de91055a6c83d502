"""What pydantic finds, in words for people who do not program."""

import re
from typing import Any

from pydantic_core import ErrorDetails

from llmguard.registry.entries import entry_at
from llmguard.registry.finding import Loc, Problem, plain, shown, suggestion
from llmguard.registry.leaks import is_secretive

_BY_NAME = frozenset(
    {
        *("providers", "models", "apps", "parameters", "owners", "cost_centers", "approvers", "webhooks"),
        *("identity_providers", "roles"),
    }
)
_CHOICE = re.compile(r"'([^']*)'")
_KINDS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of names",
    "model_type": "a mapping of settings",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than_equal": ("le", "at most"),
}


def problem_of(error: ErrorDetails) -> Problem:
    """Return one pydantic error as a problem."""
    value, context = error["input"], error.get("ctx", {})
    loc, on_key = _document_loc(error["loc"])
    match error["type"]:
        case "missing":
            problem = _missing(loc)
        case "extra_forbidden":
            problem = _unknown(loc, value)
        case "literal_error":
            problem = _not_a_choice(loc, value, context["expected"])
        case "registry":
            said = str(loc[-1]) if on_key else plain(value)
            said = None if context["hidden"] else said
            problem = Problem(loc, context["message"], value=said, fix=context["fix"], on_key=on_key)
        case bound if bound in _BOUNDS:
            name, words = _BOUNDS[bound]
            fix = f"it must be {words} {context[name]:g}"
            problem = Problem(loc, f"{shown(value)} is out of range", value=plain(value), fix=fix)
        case kind if kind in _KINDS:
            problem = _wrong_kind(loc, value, kind, on_key=on_key)
        case _:
            problem = Problem(loc, error["msg"], value=plain(value), fix="correct the value", on_key=on_key)
    return problem


def _document_loc(loc: Loc) -> tuple[Loc, bool]:
    """Return the loc with names as texts (YAML reads the app name 4711 as a number), and whether a key is meant."""
    on_key = loc[-1:] == ("[key]",)
    parts = loc[:-1] if on_key else loc
    return tuple(
        str(part) if index and parts[index - 1] in _BY_NAME else part for index, part in enumerate(parts)
    ), on_key


def _missing(loc: Loc) -> Problem:
    entry = entry_at(loc[:-1])
    field = entry.model_fields.get(str(loc[-1])) if entry else None
    meaning = f" ({field.description})" if field and field.description else ""
    return Problem(loc, f"'{loc[-1]}' is missing", fix=f"add it{meaning}", on_key=True)


def _unknown(loc: Loc, value: Any) -> Problem:  # the value of a setting that nobody knows
    name = str(loc[-1])
    entry = entry_at(loc[:-1])
    fix = suggestion(name, entry.model_fields) if entry else "remove it"
    if is_secretive(name) and "api_key_env" in (entry.model_fields if entry else ()):
        fix = "did you mean 'api_key_env'? It names the environment variable; the key itself stays outside this file"
    hidden = isinstance(value, str)  # it may be anything, a password too
    if name == "<<":
        fix = "merge keys are not supported; write the settings out, or use an anchor for a whole value"
    return Problem(loc, f"unknown setting '{name}'", value=None if hidden else plain(value), fix=fix, on_key=True)


def _not_a_choice(loc: Loc, value: Any, expected: str) -> Problem:  # any value but the expected ones
    choices = _CHOICE.findall(expected)
    if not choices:
        return Problem(loc, f"{shown(value)} is not possible here", value=plain(value), fix=f"write {expected}")
    nearest = suggestion(str(value), choices)
    listed = ", ".join(choices)
    fix = nearest if nearest.startswith("use") else f"{nearest} (possible: {listed})"
    return Problem(loc, f"{shown(value)} is not possible here", value=plain(value), fix=fix)


def _wrong_kind(loc: Loc, value: Any, kind: str, *, on_key: bool) -> Problem:  # any value but the expected ones
    if value is None:
        fix = "write {} for any value" if "parameters" in loc[-2:-1] else f"write {_KINDS[kind]}"
        return Problem(loc, "the setting is empty", fix=fix)
    message = f"{_described(value)} stands here, and {_KINDS[kind]} is expected"
    return Problem(loc, message, value=plain(value), fix=_conversion(kind, value), on_key=on_key)


def _described(value: Any) -> str:  # anything that YAML can hold
    match value:
        case bool():
            return f"{shown(value)} (yes or no)"
        case int() | float():
            return f"the number {shown(value)}"
        case str():
            return f"the text {shown(value)}"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _conversion(kind: str, value: Any) -> str:  # anything that YAML can hold
    """Return how to write the value so that it is of the expected kind, where that is plain."""
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f'put it in quotes: "{shown(value)}"'
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f"write it as a whole number: {int(value)}"
    if kind in {"int_type", "float_type"} and isinstance(value, str):
        digits = re.sub(r"[_,' ]", "", value)
        if re.fullmatch(r"\d+" if kind == "int_type" else r"\d+(\.\d+)?", digits):
            return f"write it without quotes and separators: {digits}"
    if kind == "list_type" and isinstance(value, str):
        return f"put it in brackets: [{value[:60]}]"
    if kind == "model_type" and isinstance(value, bool | int | float | str):
        return "write its settings below it, indented"
    return f"write {_KINDS[kind]}"
