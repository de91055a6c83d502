"""What went wrong at a provider, in words that give nothing away: no provider text, address, key or body.

A provider's error text may repeat the request, its keys or its internal addresses, so none of it passes. Of OpenAI's
error object only `code` and `param` do, and only if they look like the tokens that OpenAI documents.
"""

import re
from typing import Any, Final

from llmguard.domain.catalog import Model
from llmguard.domain.chat import JsonObject
from llmguard.domain.errors import Fault, Refusal
from llmguard.providers.adapter import AttemptFailed

_TOKEN: Final = re.compile(r"[a-z0-9_.\[\]]{1,64}")
_CLIENT_ERRORS: Final = range(400, 500)
_SERVER_ERRORS: Final = range(500, 600)
_UNAVAILABLE: Final = 503
CIRCUIT_OPEN: Final = "circuit_open"


def answered_with(
    model: Model,
    status: int,
    error: JsonObject,
    *,
    retry_after_seconds: float | None = None,
    may_retry: bool = True,
) -> AttemptFailed:
    """Return the failure for a provider's HTTP status and error object.

    Args:
        model: who answered.
        status: the HTTP status; anything but 200.
        error: OpenAI's `error` object, or {}.
        retry_after_seconds: how long the provider asks to wait.
        may_retry: False if the provider says that trying again is no use (`x-should-retry: false`).
    """
    code = token(error.get("code"))
    if code == "context_length_exceeded":
        return too_long(model)
    match status:
        case 401 | 403:
            failure = _credentials_refused(model, status)
        case 404:
            failure = _unexpected(model, status)  # nothing that the app sent decides whether address and target exist
        case 413:
            failure = _request_too_large(model)
        case 429:
            failure = _too_many_requests(model, code, retry_after_seconds, may_retry=may_retry)
        case 408 | 409 | 425:  # the OpenAI SDKs retry 408 and 409 too
            failure = _passing(model, status, retry_after_seconds, may_retry=may_retry)
        case _ if status in _CLIENT_ERRORS:
            failure = invalid_request(model, code, token(error.get("param")), outcome=str(status))
        case _ if status in _SERVER_ERRORS:
            failure = _passing(model, status, retry_after_seconds, may_retry=may_retry)
        case _:
            failure = _unexpected(model, status)
    return failure


def invalid_request(
    model: Model, code: str | None, param: str | None, *, outcome: str = "400", reached: bool = True
) -> AttemptFailed:
    """Return the failure for a request that the provider does not accept; the app may have caused it.

    Args:
        model: who was asked.
        code: OpenAI's error code, already checked with `token`.
        param: the parameter that it is about, already checked with `token`.
        outcome: for the trace.
        reached: False if llmguard already knew and did not send it.
    """
    facts = ", ".join(f"{name} {value}" for name, value in (("code", code), ("parameter", param)) if value)
    said = f" It named: {facts}." if facts else ""
    refusal = Refusal(
        "invalid_request",
        f"The provider of {model.name} did not accept the request.{said}",
        hint="Check messages, tools and response_format. The provider's own words are withheld: they may hold data.",
        param=param,
    )
    return AttemptFailed(refusal, outcome=outcome, reached=reached, fall_back=False)


def too_long(model: Model) -> AttemptFailed:
    """Return the failure for a request that does not fit into the model's context."""
    size = f" ({model.context_tokens:,} tokens)" if model.context_tokens else ""
    embeds = model.mode == "embedding"
    what = "One of the texts does" if embeds else "The conversation and the answer asked for do"
    refusal = Refusal(
        "context_length_exceeded",
        f"{what} not fit into the context of {model.name}{size}.",
        hint="Send shorter texts." if embeds else "Send fewer or shorter messages, or lower max_tokens.",
        param="input" if embeds else "messages",
    )
    return AttemptFailed(refusal, outcome="context_length_exceeded", fall_back=False)


def not_connected(model: Model) -> AttemptFailed:
    """Return the failure for a connection that never stood."""
    fault = Fault(
        "provider_error",
        f"The provider of {model.name} could not be connected to.",
        hint="Try again in a moment. If it stays, the operator of llmguard checks the network.",
    )
    return AttemptFailed(fault, outcome="not_connected", reached=False, retry=True)


def broken_off(model: Model) -> AttemptFailed:
    """Return the failure for a connection that broke before the answer was whole."""
    fault = Fault(
        "provider_error",
        f"The provider of {model.name} ended the answer before it was complete.",
        hint="Try again in a moment.",
    )
    return AttemptFailed(fault, outcome="broken_off", may_have_cost=True, retry=True)


def not_understood(model: Model) -> AttemptFailed:
    """Return the failure for an answer that is not what the OpenAI wire format says."""
    fault = Fault(
        "provider_error",
        f"The provider of {model.name} sent an answer that is not in OpenAI's format.",
        hint=f"The operator of llmguard checks base_url and kind of the provider {model.provider.name}.",
    )
    return AttemptFailed(fault, outcome="not_understood", may_have_cost=True)


def too_large(model: Model) -> AttemptFailed:
    """Return the failure for an answer beyond the size that llmguard is willing to hold."""
    fault = Fault(
        "provider_error",
        f"The provider of {model.name} sent more than llmguard takes in one answer.",
        hint="Ask for a shorter answer.",
    )
    return AttemptFailed(fault, outcome="too_large", may_have_cost=True)


def said_error(model: Model) -> AttemptFailed:
    """Return the failure for an error that comes inside an answer that began well."""
    fault = Fault(
        "provider_error",
        f"The provider of {model.name} reported an error in its answer.",
        hint="Try again in a moment.",
    )
    return AttemptFailed(fault, outcome="error_in_answer", may_have_cost=True)


def timed_out(model: Model, waited_for: str, seconds: float, *, reached: bool = True) -> AttemptFailed:
    """Return the failure for a provider that took too long.

    Args:
        model: who was asked.
        waited_for: `connection`, `first byte`, `next part` or `whole answer`.
        seconds: how long llmguard waits for that.
        reached: False if the request was certainly not sent.
    """
    fault = Fault(
        "provider_timeout",
        f"The provider of {model.name} took longer than {seconds:g} seconds for the {waited_for}.",
        hint="Try again later, or ask for a shorter answer.",
    )
    outcome = f"timeout_{waited_for.replace(' ', '_')}"
    # Not asked again: it may still be working on the first request, which would be paid twice.
    return AttemptFailed(fault, outcome=outcome, reached=reached, may_have_cost=reached, retry=not reached)


def circuit_open(model: Model, seconds: float) -> AttemptFailed:
    """Return the failure for a target that is not asked, since it failed too often just now."""
    fault = Fault(
        "overloaded",
        f"The provider of {model.name} is not answering well, so llmguard leaves it alone for {seconds:.0f} seconds.",
        hint="Try again after that. If it stays, the operator of llmguard asks the provider.",
        retry_after_seconds=seconds,
    )
    return AttemptFailed(fault, outcome=CIRCUIT_OPEN, reached=False)


def no_key(model: Model, variable: str) -> AttemptFailed:
    """Return the failure for a provider key that is not in the environment, or not a key."""
    fault = Fault(
        "provider_error",
        f"llmguard has no usable key for the provider {model.provider.name}: {variable} is empty or not set.",
        hint=f"The operator of llmguard sets the environment variable {variable} and restarts.",
    )
    return AttemptFailed(fault, outcome="no_key", reached=False)


def token(value: Any) -> str | None:  # Any: not checked yet
    """Return a provider's word if it looks like one of OpenAI's fixed ones; None otherwise."""
    return value if isinstance(value, str) and _TOKEN.fullmatch(value) else None


def _passing(model: Model, status: int, retry_after_seconds: float | None, *, may_retry: bool) -> AttemptFailed:
    fault = Fault(
        "provider_error",
        f"The provider of {model.name} answered with an error ({status}).",
        hint="Try again in a moment.",
        retry_after_seconds=retry_after_seconds,
    )
    # 503 is said before any work; after another 5xx, such as a proxy's 504, the model may have worked.
    worked = status in _SERVER_ERRORS and status != _UNAVAILABLE
    return AttemptFailed(fault, outcome=str(status), may_have_cost=worked, retry=may_retry)


def _unexpected(model: Model, status: int) -> AttemptFailed:
    fault = Fault(
        "provider_error",
        f"The provider of {model.name} answered with status {status}, which llmguard did not expect.",
        hint=f"The operator of llmguard checks base_url of {model.provider.name} and the target of {model.name}.",
    )
    return AttemptFailed(fault, outcome=str(status))


def _request_too_large(model: Model) -> AttemptFailed:
    refusal = Refusal(
        "request_too_large",
        f"The provider of {model.name} found the request too large.",
        hint="Send less text, or fewer and smaller images.",
    )
    return AttemptFailed(refusal, outcome="413", fall_back=False)


def _credentials_refused(model: Model, status: int) -> AttemptFailed:
    variable = model.provider.api_key_env
    named = f"the key in {variable}" if variable else "api_key_env, which is not set"
    fault = Fault(
        "provider_error",
        f"The provider of {model.name} refused llmguard's own credentials ({status}). Your key is fine.",
        hint=f"The operator of llmguard checks {named} for the provider {model.provider.name}.",
    )
    return AttemptFailed(fault, outcome=str(status))


def _too_many_requests(
    model: Model, code: str | None, retry_after_seconds: float | None, *, may_retry: bool
) -> AttemptFailed:
    if code == "insufficient_quota":  # the organisation's own account is empty: time does not heal it
        fault = Fault(
            "provider_error",
            f"The organisation's account at the provider of {model.name} is used up. Your own quota is fine.",
            hint=f"The operator of llmguard checks the account behind {model.provider.name}.",
        )
        return AttemptFailed(fault, outcome="insufficient_quota")
    fault = Fault(
        "provider_error",
        f"The provider of {model.name} gets too many requests from this organisation. Your own quota is fine.",
        hint="Try again in a moment.",
        retry_after_seconds=retry_after_seconds,
    )
    return AttemptFailed(fault, outcome="429", retry=may_retry)
