"""How the apps of `console_registry` use llmguard in the month that `month` makes: shares, words, refusals, trends."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.support.console_registry import LONG_APP

Refusal = tuple[str, int, str | None, str, str]  # code, status, parameter, message, hint


def _steady(_: float) -> float:
    return 1


def _growing(progress: float) -> float:
    return 0.5 + 1.1 * progress


def _shrinking(progress: float) -> float:
    return 1.6 - 1.1 * progress


def _begun_lately(progress: float) -> float:
    return 0 if progress < 0.75 else 2.2


def _gone_since(progress: float) -> float:
    return 1 if progress < 0.6 else 0


@dataclass(frozen=True)
class Habit:
    """How one app uses llmguard.

    Attributes:
        share: of all requests, before its trend.
        words: tokens that are read, about.
        entities: types that are hidden.
        refusals: what it is refused with; the app is answered otherwise.
        talks: question and answer; `{PERSON}` stands for a placeholder of that type.
        trend: by what its share is multiplied, from 0 (the first day) to 1 (now).
        is_refused: all of its requests are.
    """

    app: str
    owner: str
    team: str | None
    cost_center: str
    share: float
    preset: str
    version: int
    model: str
    words: int
    entities: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    talks: tuple[tuple[str, str], ...] = (("Please look at the invoice.", "It is about three items."),)
    trend: Callable[[float], float] = _steady
    is_refused: bool = False


HABITS = (
    Habit(
        *("expense-triage", "dana@example.com", "finance-ops", "4711", 8, "summarise", 2, "echo-1", 900),
        ("EMAIL_ADDRESS", "PERSON", "IBAN_CODE"),
        (
            (
                *("parameter_not_allowed", 400, "temperature"),
                "temperature: it may be from 0 to 0.3, and 0.9 was asked (preset summarise@2).",
                "Keep temperature within 0 to 0.3, or leave it out. Ask coe@example.com, who owns the preset.",
            ),
            (
                *("rate_limit_exceeded", 429, None),
                "expense-triage sent more than 60 requests in a minute.",
                "Wait 12 seconds, then send it again.",
            ),
        ),
        (
            (
                (
                    "Summarise for the review: {PERSON} ({EMAIL_ADDRESS}) asks for 1,284.60 EUR for a trip to Porto "
                    "and two nights. The receipt of the second night is missing. To be paid to {IBAN_CODE}."
                ),
                (
                    "{PERSON} claims 1,284.60 EUR for Porto. One receipt is missing; ask {EMAIL_ADDRESS} for it "
                    "before {IBAN_CODE} is paid."
                ),
            ),
            (
                "Summarise: taxi 38.20 EUR, lunch for four 112.00 EUR with {PERSON} of the supplier, no guest list.",
                "Taxi is fine. The lunch with {PERSON} needs the list of guests.",
            ),
        ),
    ),
    Habit(
        *("hr-helpdesk", "amal@example.com", "people", "1200", 5, "draft-reply", 1, "echo-1", 600),
        ("PERSON", "PHONE_NUMBER", "LOCATION", "DATE_TIME"),
        (
            (
                *("content_blocked", 400, None),
                "The text holds a CREDENTIAL, which this preset never sends.",
                "Take it out and send the text again.",
            ),
        ),
        (
            (
                (
                    "Draft a reply. {PERSON} asks whether parental leave can begin on {DATE_TIME} and wants a call at "
                    "{PHONE_NUMBER}."
                ),
                "Dear {PERSON}, yes: leave can begin on {DATE_TIME}. We will call you at {PHONE_NUMBER} this week.",
            ),
            (
                "Draft a reply: {PERSON} moves to {LOCATION} and asks which forms the new contract needs.",
                "Dear {PERSON}, for {LOCATION} we need the address form and the tax form; both are attached.",
            ),
        ),
        _growing,
    ),
    Habit(
        *("ticket-router", "sam@example.com", "it-service", "8080", 12, "classify", 1, "echo-1", 120),
        ("EMAIL_ADDRESS", "IP_ADDRESS"),
        (
            (
                *("insufficient_quota", 429, None),
                "ticket-router asked for up to 900 tokens and has 212 left until tomorrow.",
                "Ask for more, or lower max_tokens.",
            ),
            (
                *("preset_not_allowed", 403, "model"),
                "ticket-router may not use the preset draft-reply.",
                "It may use: classify.",
            ),
        ),
        (
            (
                "Ticket: the printer at {IP_ADDRESS} prints every page twice. Sent by {EMAIL_ADDRESS}.",
                '{{"queue": "printing", "urgency": "low"}}',
            ),
            (
                "Ticket: I cannot sign in since this morning. {EMAIL_ADDRESS}",
                '{{"queue": "access", "urgency": "high"}}',
            ),
        ),
        _shrinking,
    ),
    Habit(
        *(LONG_APP, "maximiliane.von-und-zu@example.com"),
        *("group-regulatory-affairs", "CC-2000-EMEA-REGULATORY", 1.5, "summarise", 2, "echo-1", 2500),
        ("PERSON", "LOCATION", "CREDIT_CARD"),
        (
            (
                *("context_length_exceeded", 400, "messages"),
                "The text has 141,200 tokens, and the model reads at most 128,000.",
                "Shorten it, or send it in parts.",
            ),
        ),
        (
            (
                "Summarise chapter 4 of the report of the subsidiary in {LOCATION}, signed by {PERSON}.",
                "The subsidiary in {LOCATION} meets the requirements of chapter 4; {PERSON} signed two exceptions.",
            ),
        ),
        _begun_lately,
    ),
    Habit(
        *("contract-check", "rita@example.com", None, "3300", 0.8, "summarise", 1, "echo-1", 1500),
        ("PERSON", "ORGANIZATION"),
        (
            (
                *("model_not_found", 404, "model"),
                "There is no preset named 'summarize'. contract-check may use: summarise.",
                "Put 'summarise' into `model`.",
            ),
        ),
        (
            (
                "Which clauses of the contract with {ORGANIZATION} end before the year does? Contact: {PERSON}.",
                "Clauses 7 and 12 end on 30 November. {PERSON} of {ORGANIZATION} has to agree to a longer time.",
            ),
        ),
    ),
    Habit(
        *("legal-search", "lee@example.com", None, "3300", 0.15, "summarise", 2, "echo-1", 300),
        (),
        (
            (
                *("app_not_approved", 403, None),
                "legal-search is suspended in the catalog, so it may ask nothing.",
                "Its owner, lee@example.com, asks the CoE to approve it again.",
            ),
        ),
        is_refused=True,
    ),
    Habit(  # of an app that has left the catalog since
        *("meeting-notes", "lee@example.com", "people", "1200", 1.5, "summarise", 1, "echo-1", 1800),
        ("PERSON", "DATE_TIME"),
        (
            (
                *("preset_not_allowed", 403, "model"),
                "meeting-notes may not use the preset classify.",
                "It may use: summarise.",
            ),
        ),
        (
            (
                "Summarise the meeting of {DATE_TIME}: {PERSON} reports on the move, and the budget is open.",
                "The move is on time. {PERSON} brings the budget to the next meeting after {DATE_TIME}.",
            ),
        ),
        _gone_since,
    ),
)
