"""The preset's parameter rules: what an app may set, what is locked, what is clamped."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from llmguard.domain.catalog import JsonScalar, ParameterRule, Preset
from llmguard.domain.chat import JsonObject

# OpenAI's two names for one limit: a preset that names either governs both.
# Source: OpenAI API reference, chat completions, `max_tokens` ("deprecated in favor of max_completion_tokens").
MAX_TOKENS = "max_tokens"
PARAMETER = re.compile(r"[a-z][a-z_.]{0,39}")  # OpenAI's names look so; anything else could be somebody's data
_LONGEST_SHOWN = 8
_SYNONYMS = {"max_completion_tokens": MAX_TOKENS}
TOOL_PARAMETERS = frozenset({"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"})

PREVIOUS_RESPONSE = "previous_response_id"
SHORTEST_ANSWER_TOKENS = 16  # less is no answer to anybody

# Values that ask for nothing beyond what happens anyway: clients send them by habit, so they are dropped, not refused.
# Source: OpenAI API reference, chat completions, the documented default of each parameter.
_ASKS_NOTHING: dict[str, tuple[Any, ...]] = {  # Any: JSON values
    "n": (1,),
    "temperature": (1,),
    "top_p": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "stop": ([],),
    "store": (False,),
    "metadata": ({},),
    "service_tier": ("auto", "default"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "verbosity": ("medium",),
}
# Labels for whoever reads OpenAI's dashboards: an answer is the same without them, so they stay behind. They often
# name a person.
_LABELS = frozenset({"user", "safety_identifier", "prompt_cache_key"})
# Numbers and switches that set a model and could be about nobody; a seed, or an unknown field, could be.
_SETTINGS = frozenset(
    {
        *("temperature", "top_p", "n", "max_tokens", "max_completion_tokens", "presence_penalty", "frequency_penalty"),
        *("logprobs", "top_logprobs", "parallel_tool_calls", "store"),
    }
)


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that the request asks and the preset does not allow, in words for the person who built the app."""

    parameter: str
    message: str
    hint: str


class Settled(msgspec.Struct, frozen=True):
    """The parameters that go to the provider, what was changed on the way, and what stands against the request."""

    parameters: JsonObject
    adjusted: tuple[str, ...]
    violations: tuple[Violation, ...]


def settle_parameters(preset: Preset, asked: JsonObject, spoken: Mapping[str, str] | None = None) -> Settled:
    """Return the parameters of a request under its preset: checked, clamped where allowed, with defaults filled in.

    Tools and state at the provider pass through here untouched: see `tool_violations`, and `decide.py`.

    Args:
        preset: whose rules they are.
        asked: by the names of chat completions.
        spoken: what the app's endpoint calls a parameter, where that is another word.
    """
    words = spoken or {}
    parameters: JsonObject = {}
    adjusted: list[str] = []
    violations: list[Violation] = []
    rules = preset.parameters
    named: dict[str, str] = {}  # the rule's name -> the name that the app used
    for name, value in asked.items():
        if name in preset.extra_parameters or _is_state(preset, name):
            parameters[name] = value
            continue
        if name in TOOL_PARAMETERS:
            if preset.tools != "forbidden" and (has_tools(asked) or asks_for_tools(asked, name)):  # else see `rules.py`
                parameters[name] = value
            continue
        rule_name = _SYNONYMS.get(name, name)
        if rule_name in named:
            violations.append(_named_twice(preset, named[rule_name], name))
            continue
        named[rule_name] = name
        rule = rules.get(rule_name) or rules.get(name)
        if rule is None:
            if not asks_nothing(name, value):
                violations.append(_not_named(preset, words.get(name, name)))
            continue
        problem = _problem(rule, value)
        if problem is None:
            parameters[rule_name] = value
        elif preset.on_violation == "clamp" and problem.clamped is not None:
            parameters[rule_name] = problem.clamped
            adjusted.append(words.get(name, name))
        else:
            word = words.get(name, name)
            violations.append(Violation(word, f"{problem.words} (preset {preset.id})", _hint(preset, word, rule)))
    _fill_defaults(rules, parameters)
    return Settled(parameters, tuple(adjusted), tuple(violations))


def keepable(asked: JsonObject) -> JsonObject:
    """Return what a trace may keep of parameters that were not redacted: short numbers of those that set a model."""
    return {name: value for name, value in asked.items() if is_keepable(name, value)}


def is_keepable(name: str, value: Any) -> bool:
    """Tell whether a trace may keep the value of a parameter that was not redacted."""
    return name in _SETTINGS and _is_shown(value)


def has_tools(asked: JsonObject) -> bool:
    """Tell whether a request brings tools, by their name of today or of once."""
    return bool(asked.get("tools") or asked.get("functions"))


def asks_for_tools(asked: JsonObject, name: str) -> bool:
    """Tell whether one of the fields about tools asks for any; many clients send the others by habit."""
    value = asked.get(name)
    if name in ("tools", "functions"):
        return bool(value)
    if has_tools(asked):
        return value not in (None, "none", False)
    return isinstance(value, dict) or value == "required"


def tool_violations(preset: Preset, parameters: JsonObject) -> Iterator[Violation]:
    """Yield what the request asks of tools that the preset does not allow."""
    if preset.tools == "allowed" or TOOL_PARAMETERS.isdisjoint(parameters):
        return
    if preset.tools == "forbidden":
        for parameter in ("tools", "functions", "tool_choice", "function_call", "parallel_tool_calls"):
            if asks_for_tools(parameters, parameter):
                yield Violation(
                    parameter,
                    f"the preset {preset.id} forbids tools",
                    f"Leave {parameter} out, or ask {preset.owner}, who owns the preset, for one with tools.",
                )
        return
    allowed = ", ".join(preset.tools)
    for parameter, name in tool_names(parameters):
        if name not in preset.tools:
            yield Violation(
                parameter,
                f"the preset {preset.id} allows the tools {allowed}, and another one was sent",
                f"Send only {allowed}, or ask {preset.owner}, who owns the preset, to add the tool.",
            )


def tool_names(parameters: JsonObject) -> Iterator[tuple[str, str]]:
    """Yield the tools that a request names, each with the parameter that does."""
    for tool in parameters.get("tools") or ():
        yield "tools", _name_of(tool)
    for function in parameters.get("functions") or ():
        yield "functions", _name_of({"type": "function", "function": function})
    choice = parameters.get("tool_choice")
    if isinstance(choice, dict):
        listed = choice.get("allowed_tools")
        tools = listed.get("tools") if isinstance(listed, dict) else [choice]
        for tool in tools if isinstance(tools, list) else [tools]:
            yield "tool_choice", _name_of(tool)
    called = parameters.get("function_call")
    if isinstance(called, dict):
        yield "function_call", _name_of({"type": "function", "function": called})


def _name_of(tool: Any) -> str:
    """Return a tool's name; a tool of the provider's own, such as web search, goes by its type.

    A tool that says more of itself than its type has room for has no name here, so that no list allows it.
    """
    if not isinstance(tool, dict):
        return ""
    kind = tool.get("type", "function")
    if kind in ("function", "custom"):
        body = tool.get(kind)
        return str(body.get("name")) if isinstance(body, dict) and set(tool) <= {"type", kind} else ""
    return str(kind) if set(tool) == {"type"} else ""


class _Problem(NamedTuple):
    words: str
    clamped: JsonScalar | None = None  # the nearest allowed value, where there is one


def _is_state(preset: Preset, name: str) -> bool:
    """Tell whether a field is about what the provider keeps: `rules.py` and `provider_state` judge it."""
    return name == PREVIOUS_RESPONSE or (name == "store" and preset.provider_state == "allowed")


def _problem(rule: ParameterRule, value: Any) -> _Problem | None:
    """Return why a rule does not allow a value; None if it does."""
    if rule.fixed is not None:
        if _same(value, rule.fixed):
            return None
        return _Problem(f"it is fixed at {rule.fixed!r}, and {_shown(value)} was asked", rule.fixed)
    if rule.allowed is not None:
        if any(_same(value, choice) for choice in rule.allowed):
            return None
        choices = ", ".join(repr(choice) for choice in rule.allowed)
        return _Problem(f"it may be one of {choices}, and {_shown(value)} was asked", rule.default)
    return _out_of_range(rule, value)


def _out_of_range(rule: ParameterRule, value: Any) -> _Problem | None:
    lowest, highest = rule.minimum, rule.maximum
    if lowest is None and highest is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124 - NaN
        return _Problem(f"it must be a number {_range_words(rule)}, and {_shown(value)} was asked")
    if lowest is not None and value < lowest:
        return _Problem(f"it may be {_range_words(rule)}, and {_shown(value)} was asked", _like(lowest))
    if highest is not None and value > highest:
        return _Problem(f"it may be {_range_words(rule)}, and {_shown(value)} was asked", _like(highest))
    return None


def _fill_defaults(rules: Mapping[str, ParameterRule], parameters: JsonObject) -> None:
    for name, rule in rules.items():
        rule_name = _SYNONYMS.get(name, name)
        if rule_name in parameters:
            continue
        if rule.fixed is not None:
            parameters[rule_name] = rule.fixed
        elif rule.default is not None:
            parameters[rule_name] = rule.default


def _same(asked: Any, ruled: Any) -> bool:
    """Compare JSON values: 1 and 1.0 are the same number, but true is not 1."""
    return isinstance(asked, bool) == isinstance(ruled, bool) and bool(asked == ruled)


def asks_nothing(name: str, value: Any) -> bool:
    """Tell whether a value asks for nothing beyond what happens anyway."""
    return name in _LABELS or any(_same(value, nothing) for nothing in _ASKS_NOTHING.get(name, ()))


def _like(number: float) -> JsonScalar:
    """Return a whole bound as an int: providers refuse `max_tokens: 800.0`."""
    return int(number) if float(number).is_integer() else number


def _shown(value: Any) -> str:
    """Return a value for a message; texts, structures and long numbers may be personal: only their kind is said."""
    if _is_shown(value):
        return repr(value)
    return "a number of many digits" if isinstance(value, int | float) else f"a {type(value).__name__}"


def _is_shown(value: Any) -> bool:
    return isinstance(value, bool | int | float) and len(repr(value)) <= _LONGEST_SHOWN


def _range_words(rule: ParameterRule) -> str:
    if rule.minimum is None:
        return f"up to {_like(rule.maximum or 0)}"
    if rule.maximum is None:
        return f"from {_like(rule.minimum)}"
    return f"from {_like(rule.minimum)} to {_like(rule.maximum)}"


def allowed_words(rule: ParameterRule) -> str:
    """Return what a parameter may be, for a sentence."""
    if rule.fixed is not None:
        return f"{rule.fixed!r} only"
    if rule.allowed is not None:
        return "one of " + ", ".join(repr(choice) for choice in rule.allowed)
    if rule.minimum is None and rule.maximum is None:
        return "any value"
    return _range_words(rule)


def least_worth_having(preset: Preset, asked: int) -> int:
    """Return how far `max_tokens` may be lowered to what is left of a quota."""
    if preset.on_quota == "refuse":
        return asked
    rule = preset.parameters.get(MAX_TOKENS)
    return min(asked, max(SHORTEST_ANSWER_TOKENS, int(rule.minimum) if rule is not None and rule.minimum else 0))


def _hint(preset: Preset, name: str, rule: ParameterRule) -> str:
    return (
        f"Send {name} {allowed_words(rule)}, or leave it out. Why: {preset.why} "
        f"Ask {preset.owner}, who owns the preset, for a different one."
    )


def _not_named(preset: Preset, name: str) -> Violation:
    allowed = "; ".join(f"{rule_name} {allowed_words(rule)}" for rule_name, rule in preset.parameters.items())
    shown = name if PARAMETER.fullmatch(name) else "a field"
    return Violation(
        shown,
        f"the preset {preset.id} does not name it, and what a preset does not name is not allowed",
        f"Leave {shown} out. The preset allows: {allowed or 'no parameters'}. "
        f"Ask {preset.owner}, who owns the preset, if the app needs it.",
    )


def _named_twice(preset: Preset, first: str, second: str) -> Violation:
    return Violation(
        second,
        f"it is another name for {first}, and both were sent (preset {preset.id})",
        f"Send {first} or {second}, not both.",
    )
