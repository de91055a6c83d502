"""What the door answers when it does not pass a request on: refusals (4xx) and faults (5xx).

A refusal can be fixed by the caller or the owner of the rule; a fault cannot. Each has a code of the contract, and
the code alone decides status, OpenAI error type and whether waiting heals it. Messages are read by people who do not
program and never hold a secret or personal data.
"""

from dataclasses import dataclass
from typing import Literal

RefusalCode = Literal[
    "invalid_request",
    "parameter_not_allowed",
    "content_blocked",
    "context_length_exceeded",
    "invalid_api_key",
    "key_expired",
    "key_revoked",
    "app_expired",
    "app_not_approved",
    "app_suspended",
    "app_ownerless",
    "preset_not_allowed",
    "sensitivity_not_allowed",
    "scope_missing",
    "origin_not_allowed",
    "policy_denied",
    "not_found",
    "model_not_found",
    "method_not_allowed",
    "preset_retired",
    "request_too_large",
    "idempotency_key_reuse",
    "rate_limit_exceeded",
    "insufficient_quota",
]
FaultCode = Literal[
    "internal_error",
    "provider_error",
    "redaction_unavailable",
    "ledger_unavailable",
    "overloaded",
    "provider_timeout",
]


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """What a code means on the wire."""

    status: int
    type: str  # OpenAI's error type


CODES: dict[str, CodeFacts] = {
    "invalid_request": CodeFacts(400, "invalid_request_error"),
    "parameter_not_allowed": CodeFacts(400, "invalid_request_error"),
    "content_blocked": CodeFacts(400, "invalid_request_error"),
    "context_length_exceeded": CodeFacts(400, "invalid_request_error"),
    "invalid_api_key": CodeFacts(401, "authentication_error"),
    "key_expired": CodeFacts(401, "authentication_error"),
    "key_revoked": CodeFacts(401, "authentication_error"),
    "app_expired": CodeFacts(403, "permission_error"),
    "app_not_approved": CodeFacts(403, "permission_error"),
    "app_suspended": CodeFacts(403, "permission_error"),
    "app_ownerless": CodeFacts(403, "permission_error"),
    "preset_not_allowed": CodeFacts(403, "permission_error"),
    "sensitivity_not_allowed": CodeFacts(403, "permission_error"),
    "scope_missing": CodeFacts(403, "permission_error"),
    "origin_not_allowed": CodeFacts(403, "permission_error"),
    "policy_denied": CodeFacts(403, "permission_error"),
    "not_found": CodeFacts(404, "invalid_request_error"),
    "model_not_found": CodeFacts(404, "invalid_request_error"),
    "method_not_allowed": CodeFacts(405, "invalid_request_error"),
    "preset_retired": CodeFacts(410, "invalid_request_error"),
    "request_too_large": CodeFacts(413, "invalid_request_error"),
    "idempotency_key_reuse": CodeFacts(422, "invalid_request_error"),
    "rate_limit_exceeded": CodeFacts(429, "rate_limit_error"),
    "insufficient_quota": CodeFacts(429, "insufficient_quota"),
    "internal_error": CodeFacts(500, "server_error"),
    "provider_error": CodeFacts(502, "server_error"),
    "redaction_unavailable": CodeFacts(503, "server_error"),
    "ledger_unavailable": CodeFacts(503, "server_error"),
    "overloaded": CodeFacts(503, "server_error"),
    "provider_timeout": CodeFacts(504, "server_error"),
}

_TIME_HEALS = frozenset(
    {
        "rate_limit_exceeded",
        "internal_error",
        "provider_error",
        "redaction_unavailable",
        "ledger_unavailable",
        "overloaded",
        "provider_timeout",
    }
)


class GuardError(Exception):
    """What refusals and faults share; catch it only at the borders (web, cli)."""

    def __init__(
        self,
        code: RefusalCode | FaultCode,
        message: str,
        *,
        hint: str | None = None,
        param: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        """Build it from a code of the contract and words for people.

        Args:
            code: decides status and type.
            message: what happened, with the values that matter; never a secret, never personal data.
            hint: what to do next, and who owns the rule.
            param: the request parameter it is about, by OpenAI's name.
            retry_after_seconds: when waiting heals it, how long to wait.
        """
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.param = param
        self.retry_after_seconds = retry_after_seconds

    @property
    def status(self) -> int:
        """The HTTP status of the contract."""
        return CODES[self.code].status

    @property
    def type(self) -> str:
        """OpenAI's error type."""
        return CODES[self.code].type

    @property
    def time_heals(self) -> bool:
        """Whether the same request can pass later without anybody changing anything."""
        return self.code in _TIME_HEALS


class Refusal(GuardError):
    """The caller, or the owner of a rule, can fix it (4xx)."""


class Fault(GuardError):
    """Nobody on the caller's side can fix it (5xx)."""
