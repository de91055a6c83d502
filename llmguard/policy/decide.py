"""Step 3, decide: all rules at once over one request; refuses with every reason, knows no provider and no text."""

from dataclasses import dataclass, field
from datetime import date

from llmguard.domain.catalog import App, Model, Preset
from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.domain.errors import Refusal, RefusalCode
from llmguard.policy.parameters import MAX_TOKENS, keepable, settle_parameters
from llmguard.policy.rules import (
    Objection,
    allowed_models,
    app_objections,
    mode_objections,
    origin_objections,
    part_violations,
    state_violations,
    target_objections,
    tool_violations,
)

POLICY_DIGEST = "builtin-2"  # the rules in this package; raise it when a rule decides differently
_DEFAULT_OUTPUT_TOKENS = 4096  # the allowance where neither preset nor model names a limit: a quota needs one


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about a request.

    Attributes:
        parameters: what goes to the provider, with defaults; the output limit is always among them as `max_tokens`, but
            for embeddings, which have no output.
        adjusted: the parameters that were clamped, by the app's names for them.
        models: targets to try, in order; never empty when allowed.
        objections: every reason against the request; empty means allowed.
        asked: of a request that is not allowed: the parameters that it asked for, as far as traces may keep them.
    """

    parameters: JsonObject
    adjusted: tuple[str, ...]
    models: tuple[Model, ...]
    objections: tuple[Objection, ...]
    asked: JsonObject = field(default_factory=dict)

    def as_json(self) -> JsonObject:
        """Return it as the trace keeps it: the outcome with all reasons."""
        asked: JsonObject = {"asked": {"parameters": self.asked}} if self.asked else {}
        return {
            **asked,
            "allowed": not self.objections,
            "adjusted": list(self.adjusted),
            "reasons": [
                {"code": reason.code, "message": reason.message, "hint": reason.hint, "param": reason.param}
                for reason in self.objections
            ],
        }

    def enforce(self) -> None:
        """Raise the refusal with all reasons, if there is any.

        Raises:
            Refusal: its code is that of the first reason; the message names them all.
        """
        if not self.objections:
            return
        first = self.objections[0]
        raise Refusal(
            first.code,
            " ".join(objection.message for objection in self.objections),
            hint=" ".join(dict.fromkeys(objection.hint for objection in self.objections)),
            param=first.param,
        )


def check_app(app: App, *, today: date, origin: str | None) -> None:
    """Refuse an app that may not be used at all, before anything is read of what it asks.

    Raises:
        Refusal: app_not_approved, app_expired or origin_not_allowed, with all reasons.
    """
    objections = (*app_objections(app, today), *origin_objections(app, origin))
    Decision({}, (), (), objections).enforce()


def decide(app: App, preset: Preset, request: ChatRequest) -> Decision:
    """Return what the rules say about this request; never raises, so that all reasons reach the trace."""
    settled = settle_parameters(preset, request.parameters, request.spoken)
    violations = (
        *settled.violations,
        *tool_violations(preset, request),
        *part_violations(preset, request),
        *state_violations(preset, request),
    )
    objections = [*target_objections(app, preset), *mode_objections(preset, request)]
    code: RefusalCode = "parameter_not_allowed"
    objections += [
        Objection(code, f"{violation.parameter}: {violation.message}.", violation.hint, violation.parameter)
        for violation in violations
    ]
    parameters = settled.parameters
    if MAX_TOKENS not in parameters and request.inputs is None:
        parameters[MAX_TOKENS] = default_output_tokens(preset)
    asked = keepable(request.parameters) if objections else {}
    return Decision(parameters, settled.adjusted, allowed_models(app, preset), tuple(objections), asked)


def default_output_tokens(preset: Preset) -> int:
    """Return the output limit of requests that name none."""
    rule = preset.parameters.get(MAX_TOKENS) or preset.parameters.get("max_completion_tokens")
    if rule is not None and rule.maximum is not None:
        return int(rule.maximum)
    return preset.model.max_output_tokens or _DEFAULT_OUTPUT_TOKENS
