"""Whether the parameter rules of a preset make sense: names, kinds, bounds, and what excludes what."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from llmguard.domain.catalog import JsonScalar
from llmguard.registry.entries import RuleEntry
from llmguard.registry.finding import Loc, Problem, plain, shown, suggestion
from llmguard.registry.parameters import (
    MAX_COMPLETION_TOKENS,
    MAX_TOKENS,
    PARAMETERS,
    RULED_ELSEWHERE,
    ParameterFacts,
)


def parameter_problems(loc: Loc, parameters: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with `parameters` of a preset, beyond the form of each rule.

    Args:
        loc: where the parameters stand.
        parameters: as the YAML has them; rules of a wrong form are left out here.
    """
    if MAX_TOKENS in parameters and MAX_COMPLETION_TOKENS in parameters:
        yield Problem(
            (*loc, MAX_COMPLETION_TOKENS),
            "max_tokens and max_completion_tokens are two names of one limit",
            fix="keep max_tokens: it governs both",
            on_key=True,
        )
    for name, raw in parameters.items():
        here = (*loc, str(name))
        facts = PARAMETERS.get(name)
        if facts is None:
            yield _unknown(here, str(name))
            continue
        rule = _rule(raw)
        if rule is not None:
            yield from _exclusions(here, rule)
            yield from _value_problems(here, str(name), rule, facts)
            yield from _range_problems(here, rule, facts)


def _unknown(loc: Loc, name: str) -> Problem:
    elsewhere = RULED_ELSEWHERE.get(name)
    if elsewhere is not None:
        return Problem(loc, f"'{name}' is not ruled here", value=name, fix=elsewhere, on_key=True)
    return Problem(loc, f"unknown setting '{name}'", value=name, fix=suggestion(name, PARAMETERS), on_key=True)


def _rule(raw: object) -> RuleEntry | None:
    try:
        return RuleEntry.model_validate(raw)
    except ValidationError:  # reported with the form of the file
        return None


def _exclusions(loc: Loc, rule: RuleEntry) -> Iterator[Problem]:
    given = rule.model_fields_set
    if "fixed" in given and len(given) > 1:
        others = ", ".join(name for name in ("min", "max", "default", "allowed") if name in given)
        yield Problem(
            (*loc, "fixed"),
            f"a fixed value leaves no room for {others}",
            fix=f"remove {others}, or `fixed`",
            on_key=True,
        )
    if "allowed" in given and given & {"min", "max"}:
        others = ", ".join(name for name in ("min", "max") if name in given)
        yield Problem(
            (*loc, "allowed"),
            f"a list of values and {others} exclude each other",
            fix="keep one of the two",
            on_key=True,
        )


def _value_problems(loc: Loc, name: str, rule: RuleEntry, facts: ParameterFacts) -> Iterator[Problem]:
    """Yield figures and texts that no provider takes for this parameter."""
    is_number = facts.kind in {"number", "integer"}
    for bound in ("min", "max"):
        figure: float | None = getattr(rule, bound)
        if figure is None:
            continue
        if is_number:
            yield from _unfit((*loc, bound), name, int(figure) if figure.is_integer() else figure, facts)
        else:
            yield Problem((*loc, bound), f"{name} is no number, so it has no {bound}", fix="use `fixed` or `allowed`")
    for field in ("default", "fixed"):
        value: JsonScalar | None = getattr(rule, field)
        if value is not None:
            yield from _unfit((*loc, field), name, value, facts)
    for index, choice in enumerate(rule.allowed or ()):
        yield from _unfit((*loc, "allowed", index), name, choice, facts)


def _unfit(loc: Loc, name: str, value: JsonScalar, facts: ParameterFacts) -> Iterator[Problem]:
    if not _fits(value, facts):
        fix = f"{name} takes {_taken(facts)}{_boolean_hint(value, facts)}"
        yield Problem(loc, f"{shown(value)} is no value for {name}", value=plain(value), fix=fix)


def _range_problems(loc: Loc, rule: RuleEntry, facts: ParameterFacts) -> Iterator[Problem]:
    if facts.kind not in {"number", "integer"}:
        if rule.allowed is not None and rule.default is not None and rule.default not in rule.allowed:
            yield _default_outside(loc, rule.default, "one of `allowed`")
        return
    if rule.min is not None and rule.max is not None and rule.min > rule.max:
        yield Problem(
            (*loc, "min"),
            f"min {rule.min:g} is greater than max {rule.max:g}, so every value is refused",
            value=f"{rule.min:g}",
            fix="swap or correct them",
        )
        return
    default = rule.default
    if default is None or isinstance(default, str | bool):
        return
    if rule.min is not None and default < rule.min:
        yield _default_outside(loc, default, f"{rule.min:g} or more")
    if rule.max is not None and default > rule.max:
        yield _default_outside(loc, default, f"{rule.max:g} or less")
    if rule.allowed is not None and default not in rule.allowed:
        yield _default_outside(loc, default, "one of `allowed`")


def _default_outside(loc: Loc, default: JsonScalar, limits: str) -> Problem:
    message = f"the default {shown(default)} is outside of what the rule allows"
    return Problem((*loc, "default"), message, value=plain(default), fix=f"choose {limits}")


def _fits(value: JsonScalar, facts: ParameterFacts) -> bool:
    match facts.kind:
        case "boolean":
            return isinstance(value, bool)
        case "text":
            return isinstance(value, str)
        case "structure":
            return False
        case "number" | "integer":
            if isinstance(value, bool | str):
                return False
            if facts.kind == "integer" and not float(value).is_integer():
                return False
            above = facts.least is None or value >= facts.least
            return above and (facts.most is None or value <= facts.most)


def _taken(facts: ParameterFacts) -> str:
    match facts.kind:
        case "boolean":
            return "true or false"
        case "text":
            return "a text"
        case "structure":
            return "a structure, which can only be allowed as a whole: write {}"
        case "number" | "integer":
            noun = "a number" if facts.kind == "number" else "a whole number"
            if facts.least is None:
                return noun
            return (
                f"{noun} of {facts.least:g} or more"
                if facts.most is None
                else (f"{noun} from {facts.least:g} to {facts.most:g}")
            )


def _boolean_hint(value: JsonScalar, facts: ParameterFacts) -> str:
    """Explain what people who know YAML 1.1 trip over."""
    if facts.kind == "boolean" and str(value).lower() in {"yes", "no", "on", "off", "y", "n"}:
        return " (yes, no, on and off are plain words here)"
    return ""
