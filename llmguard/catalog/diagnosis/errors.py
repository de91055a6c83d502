"""Explain an error by what it says: by llmguard's own words where it has them, else by its code, else by its look."""

import re
from typing import Final

from llmguard.catalog.diagnosis.answer import COE, OPERATOR, YOU, Answer
from llmguard.catalog.diagnosis.pasted import mask
from llmguard.domain.chat import JsonObject
from llmguard.domain.errors import CODES

_LONGEST = 700
_APP_OWNER: Final = "The owner of the app"
_PRESET_OWNER: Final = "The owner of the preset"
_WAIT = "Wait a moment and try again. If it stays, tell whoever runs llmguard, with the trace id."

# code -> what is wrong, what to do, who can
_WORDS: Final[dict[str, tuple[str, str, str]]] = {
    "invalid_request": (
        "The request is not built as the API wants it.",
        "Correct the field that the message names.",
        YOU,
    ),
    "parameter_not_allowed": (
        "The request sets something that the preset does not allow.",
        "Leave the parameter out, or keep it within the limits that the message names.",
        YOU,
    ),
    "content_blocked": (
        "The text holds something that must not leave, such as a password or a private key.",
        "Take it out of the text. The message names its kind.",
        YOU,
    ),
    "context_length_exceeded": ("The text is longer than the model can read.", "Shorten it, or send it in parts.", YOU),
    "invalid_api_key": (
        "The key that the tool sent is not known to llmguard.",
        "Copy the whole key again, without spaces or quotes. If that does not help, get a new one.",
        YOU,
    ),
    "key_expired": ("The key has expired.", "Get a new key from whoever runs llmguard and put it into the tool.", YOU),
    "key_revoked": ("The key was revoked.", "Get a new key from whoever runs llmguard and put it into the tool.", YOU),
    "app_expired": ("The app's approval has ended.", "Have the app renewed.", _APP_OWNER),
    "app_not_approved": ("The app is not approved, or retired.", "Have the CoE approve the app.", _APP_OWNER),
    "app_suspended": (
        "The app was stopped.",
        "Ask the owner of the app, or the CoE, what happened. Only the CoE can start it again.",
        COE,
    ),
    "app_ownerless": (
        "Nobody answers for the app any more: its owners have left.",
        "Have the CoE name a new owner in registry.yaml.",
        COE,
    ),
    "preset_not_allowed": (
        "The app may not use this preset.",
        "Use one that GET /v1/models lists, or have the CoE add it to the app.",
        _APP_OWNER,
    ),
    "sensitivity_not_allowed": (
        "The app's data is more sensitive than the preset's model may see.",
        "Use a preset that is approved for the app's data.",
        _PRESET_OWNER,
    ),
    "scope_missing": ("The key may not do this.", "Get a key that may.", OPERATOR),
    "origin_not_allowed": (
        "The app may not be called from this web page.",
        "Have the page's address added to `origins` of the app.",
        _APP_OWNER,
    ),
    "policy_denied": ("A rule of the organisation forbids it.", "The message names the rule; ask its owner.", COE),
    "not_found": ("llmguard does not have this address.", "Let the base URL end in /v1, with nothing behind it.", YOU),
    "model_not_found": (
        "There is no preset of this name. Apps name presets in `model`, not models.",
        "Put one of the names that GET /v1/models lists into `model`.",
        YOU,
    ),
    "method_not_allowed": (
        "The address was called in the wrong way.",
        "POST to /v1/chat/completions; GET /v1/models.",
        YOU,
    ),
    "preset_retired": ("The preset has been retired.", "Use its successor, which the message names.", YOU),
    "request_too_large": ("The request is too large.", "Send less text at once.", YOU),
    "idempotency_key_reuse": (
        "One idempotency key was used for two different requests.",
        "Use a new idempotency key for each request.",
        YOU,
    ),
    "rate_limit_exceeded": (
        "The app asks faster than its quota allows.",
        "Wait for the time that the answer names (retry-after), and send fewer requests at once.",
        YOU,
    ),
    "insufficient_quota": (
        "The app has used up its quota.",
        "Wait until the quota starts anew, or apply for a larger one.",
        _APP_OWNER,
    ),
    "internal_error": ("llmguard itself failed.", _WAIT, OPERATOR),
    "provider_error": ("The model provider failed, or refused llmguard.", _WAIT, OPERATOR),
    "redaction_unavailable": ("Personal data could not be checked, so nothing was sent.", _WAIT, OPERATOR),
    "ledger_unavailable": ("Keys and quotas could not be read, so nothing was sent.", _WAIT, OPERATOR),
    "overloaded": ("llmguard has too much to do, or its disk is full.", _WAIT, OPERATOR),
    "provider_timeout": ("The model provider did not answer in time.", _WAIT, OPERATOR),
}
_REACH = "Check the machine's name and the port in the base URL; then ask whoever runs llmguard whether it is running."

# what tools and libraries print -> code, what is wrong, what to do, who can; the first that matches counts
_LOOKS: Final[tuple[tuple[str, tuple[str, str, str, str]], ...]] = (
    (
        r"certificate (?:has expired|is not yet valid)|CERT_(?:HAS_EXPIRED|NOT_YET_VALID)",
        (
            "clock_or_certificate",
            "The server's certificate is out of date, or the clock of your machine is wrong.",
            "Set the clock of your machine; if it is right, the certificate must be renewed.",
            OPERATOR,
        ),
    ),
    (
        r"certificate verify failed|self.signed certificate|UNABLE_TO_(?:VERIFY|GET)|unable to get local issuer",
        (
            "certificate",
            "Your tool does not trust the certificate of the server.",
            "Install your organisation's root certificate where the tool runs. Do not switch the check off.",
            OPERATOR,
        ),
    ),
    (
        r"wrong.version.number|packet length too long|EPROTO|record layer failure|HTTPS_REQUEST",
        (
            "wrong_base_url",
            "The tool speaks https with a server that speaks http, or the other way round.",
            "Change https:// to http:// in the base URL, or the other way round.",
            YOU,
        ),
    ),
    (
        r"CORS policy|Access-Control-Allow-Origin",
        (
            "origin_not_allowed",
            "The browser page that calls is not on the list of the app.",
            "Have the page's address (https://…, without a path) added to `origins` of the app.",
            _APP_OWNER,
        ),
    ),
    (
        r"ECONNREFUSED|[Cc]onnection refused|actively refused|Failed to connect",
        ("unreachable", "Nothing answers at the address that the tool calls.", _REACH, YOU),
    ),
    (
        r"ENOTFOUND|EAI_AGAIN|getaddrinfo|Name or service not known|nodename nor servname|[Cc]ould not resolve host",
        ("unreachable", "The machine's name in the base URL is not known to the network.", _REACH, YOU),
    ),
    (
        r"Unexpected token '?<|<!doctype html|<html",
        (
            "wrong_base_url",
            "The tool got a web page where it expected an answer: it calls the wrong address.",
            "Correct the base URL: the address of llmguard, ending in /v1. A sign-in page of a network looks so, too.",
            YOU,
        ),
    ),
    (
        r"ETIMEDOUT|ReadTimeout|APITimeoutError|[Tt]imed?[ -]?out",
        (
            "timeout",
            "The answer did not come in the time that the tool waits.",
            "Let the tool wait longer (60 seconds or more), or ask for a shorter answer with max_tokens.",
            YOU,
        ),
    ),
    (r"APIConnectionError|Connection error", ("unreachable", "The tool could not connect.", _REACH, YOU)),
    (r"AuthenticationError|\b401\b", ("invalid_api_key", *_WORDS["invalid_api_key"])),
    (
        r"PermissionDeniedError|\b403\b",
        (
            "forbidden",
            "The key is known, but the app may not do this.",
            "Give the app's key here as well, and the doctor can say why.",
            _APP_OWNER,
        ),
    ),
    (r"\b405\b|Method Not Allowed", ("method_not_allowed", *_WORDS["method_not_allowed"])),
    (
        r"NotFoundError|\b404\b",
        (
            "not_found",
            "The address or the preset does not exist.",
            "Let the base URL end in /v1, and put a preset of GET /v1/models into `model`.",
            YOU,
        ),
    ),
    (r"RateLimitError|\b429\b", ("rate_limit_exceeded", *_WORDS["rate_limit_exceeded"])),
    (
        r"\b50[0234]\b|InternalServerError|Bad Gateway|Service Unavailable",
        ("provider_error", *_WORDS["provider_error"]),
    ),
)


def code_answer(code: str) -> Answer | None:
    """Return the explanation of a code of the contract; None for any other word."""
    words = _WORDS.get(code)
    return None if words is None else Answer(code, *words)


def error_answer(error: JsonObject) -> Answer | None:
    """Return the explanation of an error body; None if its code is none of llmguard's.

    What llmguard itself wrote is repeated, without keys: it has the values. Of others' errors, only the code counts.
    """
    code = error.get("code")
    known = code_answer(code) if isinstance(code, str) else None
    if known is None:
        return None
    message, hint = error.get("message"), error.get("hint")
    if not isinstance(message, str) or not isinstance(hint, str) or "trace_id" not in error:
        return known
    return Answer(known.code, mask(message[:_LONGEST]), mask(hint[:_LONGEST]) or known.fix, known.who)


def trace_answer(trace: JsonObject) -> Answer:
    """Return what a trace explains, as `/why` shows it: its code, and the reasons of the decision."""
    code = str(trace.get("code") or "")
    if not code:
        return Answer(
            "fine", "This request was answered; nothing went wrong.", "There is nothing to do.", YOU, fine=True
        )
    known = code_answer(code) or Answer(code, f"The request ended with {code}.", _WAIT, OPERATOR)
    reasons = [reason for reason in trace.get("reasons") or () if isinstance(reason, dict)]
    facts = (("when", str(trace.get("started_at") or "-")), ("status", str(trace.get("status") or "-")), ("code", code))
    if not reasons:
        return Answer(code, known.problem, known.fix, known.who, facts=facts)
    problem = " ".join(str(reason.get("message") or "") for reason in reasons)
    fix = " ".join(dict.fromkeys(str(reason.get("hint") or "") for reason in reasons))
    return Answer(code, problem or known.problem, fix or known.fix, known.who, facts=facts)


def look_answer(text: str) -> Answer | None:
    """Return an explanation by what tools and libraries print; None if nothing is recognised."""
    for word in re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", text):
        if word in CODES and (known := code_answer(word)) is not None:
            return known
    for pattern, words in _LOOKS:
        if re.search(pattern, text):
            return Answer(*words)
    return None
