"""Find the one thing that is wrong with what somebody pasted, from the outside in: address, key, app, preset, quota.

What belongs to an app is said only to whoever gives its whole key, as the HTTP API does. A trace id is a ticket for
what `/why` shows, and for no more.
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from llmguard.catalog.diagnosis.address import base_url_problem, called_url_problem, elsewhere
from llmguard.catalog.diagnosis.answer import COE, OPERATOR, YOU, Answer
from llmguard.catalog.diagnosis.errors import error_answer, look_answer, trace_answer
from llmguard.catalog.diagnosis.keys import foreign_key, form_problem, wrapped_note
from llmguard.catalog.diagnosis.pasted import Pasted, PastedKey, read_key, read_pasted, vendor_of
from llmguard.domain.catalog import App, Caller, Preset, Registry
from llmguard.domain.chat import JsonObject
from llmguard.domain.errors import GuardError
from llmguard.domain.money import to_usd
from llmguard.domain.quota import Standing
from llmguard.identity.key_store import Secret
from llmguard.identity.keyring import refuse_what_ended
from llmguard.identity.scopes import check_preset
from llmguard.policy.decide import allowed_models, app_objections, origin_objections, target_objections
from llmguard.registry.resolve import resolve_preset, usable_presets

_MOST_SKEW_SECONDS: Final = 90
_NEW_KEY: Final = "Get a new key from whoever runs llmguard (`llmguard keys issue APP`) and put it into the tool."


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody gave; all of it may be empty.

    Attributes:
        text: an error, a log, a trace id, an address, or a key.
        key: what stands in the tool's box for the key.
        base_url: what stands in the tool's box for the base URL.
        preset: what the tool puts into `model`.
        origin: the web page that calls, if one does.
        caller_time: what the clock of the caller's machine said.
    """

    text: str = ""
    key: str = ""
    base_url: str = ""
    preset: str = ""
    origin: str = ""
    caller_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the doctor looks.

    Attributes:
        registry: what is in force.
        look_up: returns what is known of a whole key.
        standings: returns how an app stands against its limits.
        explain: returns what `/why` shows of a trace.
        is_set: whether a variable with a provider's key is set where the gateway runs.
        now: the time here.
    """

    registry: Registry
    look_up: Callable[[str], Secret | None]
    standings: Callable[[App], Awaitable[tuple[Standing, ...]]]
    explain: Callable[[str], Awaitable[JsonObject | None]]
    is_set: Callable[[str], bool]
    now: datetime


async def diagnose(question: Question, sources: Sources) -> Answer:
    """Return the one thing that is wrong, what was noticed besides, or that all is well."""
    pasted = read_pasted(question.text)
    key = read_key(question.key) if question.key.strip() else pasted.key
    answer = await _first_problem(question, sources, pasted, key)
    skew = _clock_problem(question.caller_time, sources.now)
    if skew is not None and answer.fine:
        return replace(skew, facts=answer.facts)
    notes = [*answer.notes, *wrapped_note(key)]
    if skew is not None:
        notes.append(skew.problem)
    return replace(answer, notes=tuple(dict.fromkeys(notes)))


async def _first_problem(question: Question, sources: Sources, pasted: Pasted, key: PastedKey | None) -> Answer:
    outside = _address_problem(question, pasted) or _key_problem(question, pasted, key)
    if outside is not None:
        return outside
    secret = sources.look_up(key.text) if key is not None else None
    if key is not None and secret is None:
        return _unknown_key()
    inside = await _app_problem(question, sources, secret) if secret is not None else None
    told = inside or await _told_problem(question, sources, pasted, knows_key=secret is not None)
    if told is not None:
        return told
    return await _all_well(sources, secret) if secret is not None else _nothing_recognised(question)


def _address_problem(question: Question, pasted: Pasted) -> Answer | None:
    if question.base_url.strip() and (problem := base_url_problem(question.base_url)) is not None:
        return problem
    if (problem := elsewhere(question.text)) is not None:
        return problem
    return called_url_problem(pasted.url) if pasted.url is not None else None


def _key_problem(question: Question, pasted: Pasted, key: PastedKey | None) -> Answer | None:
    """Return what is wrong with a key by its look alone."""
    vendor = vendor_of(question.key) or (pasted.vendor if key is None or not key.text else None)
    if vendor is not None:
        return foreign_key(vendor)
    return form_problem(key) if key is not None else None


async def _app_problem(question: Question, sources: Sources, secret: Secret) -> Answer | None:
    """Return what is wrong with a key that is ours: with itself, its app, its preset or its quota."""
    app = sources.registry.apps.get(secret.app)
    if (ended := _ended(secret, app, sources.now)) is not None:
        return ended
    if app is None:
        problem = f"The key belongs to the app {secret.app}, which is not in the catalog any more."
        return Answer("app_not_approved", problem, "Have the CoE put the app into registry.yaml again.", COE)
    origin = _origin(question.origin)
    against = [*app_objections(app, sources.now.date()), *(origin_objections(app, origin) if origin else ())]
    if against:
        return Answer(against[0].code, against[0].message, against[0].hint, f"The owner of the app: {app.owner}")
    problem_or_none = _preset_problem(question, sources, app, secret)
    return problem_or_none or next(_quota_problems(app, await sources.standings(app)), None)


def _ended(secret: Secret, app: App | None, now: datetime) -> Answer | None:
    try:
        refuse_what_ended(secret, now)
    except GuardError as refusal:
        asked = f" {app.owner} owns the app {app.name}." if app is not None else ""
        return Answer(refusal.code, refusal.message, f"{_NEW_KEY}{asked}", OPERATOR)
    return None


def _preset_problem(question: Question, sources: Sources, app: App, secret: Secret) -> Answer | None:
    today, name = sources.now.date(), question.preset.strip()
    try:
        resolved = (resolve_preset(sources.registry, app, name, today=today),) if name else ()
        for preset in resolved:
            check_preset(Caller(app, secret.key_id, secret.scope), preset)
    except GuardError as refusal:
        return Answer(refusal.code, refusal.message, refusal.hint or "", YOU)
    presets = resolved or usable_presets(sources.registry, app, today=today)
    if not presets:
        problem = f"The app {app.name} may use no preset at present."
        return Answer("preset_not_allowed", problem, "Have the CoE list an approved preset for it.", COE)
    objections = [tuple(target_objections(app, preset)) for preset in presets]
    if all(objections):
        first = objections[0][0]
        return Answer(first.code, first.message, first.hint, COE)
    allowed = [preset for preset, against in zip(presets, objections, strict=True) if not against]
    missing = [_missing_key(sources, app, preset) for preset in allowed]
    if missing and all(missing):
        variable = missing[0]
        problem = f"llmguard has no key for the model provider: {variable} is empty or not set where it runs."
        return Answer("provider_error", problem, f"Set the variable {variable} and restart llmguard.", OPERATOR)
    return None


def _missing_key(sources: Sources, app: App, preset: Preset) -> str | None:
    """Return the first missing variable if no model of the preset has its provider's key."""
    variables = [model.provider.api_key_env for model in allowed_models(app, preset)]
    missing = [variable for variable in variables if variable is not None and not sources.is_set(variable)]
    return missing[0] if missing and len(missing) == len(variables) else None


def _quota_problems(app: App, standings: tuple[Standing, ...]) -> Iterator[Answer]:
    for standing in sorted((one for one in standings if one.left == 0), key=lambda one: one.resets_at, reverse=True):
        resets = f"{standing.resets_at.day} {standing.resets_at:%B %Y %H:%M} UTC"
        problem = (
            f"The app {app.name} has nothing left of its limit {standing.name} ({_amount(standing, standing.limit)}): "
            f"{_amount(standing, standing.used)} are used and {_amount(standing, standing.held)} are held for requests "
            f"still running. It starts anew on {resets}."
        )
        in_a_minute = standing.name.endswith("_per_minute")
        code = "rate_limit_exceeded" if in_a_minute else "insufficient_quota"
        fix = (
            "Wait a minute and send fewer requests at once."
            if in_a_minute
            else f"Wait until {resets}, or apply for more."
        )
        yield Answer(code, problem, fix, f"The owner of the app: {app.owner}")


def _words(standing: Standing) -> str:
    """Return `tokens_per_day` as `tokens a day`; the amount of money has its unit already."""
    what, _, period = standing.name.partition("_per_")
    return f"a {period}" if what == "usd" else f"{what} a {period}"


def _amount(standing: Standing, amount: int) -> str:
    return f"{to_usd(amount).normalize():f} USD" if standing.name == "usd_per_month" else f"{amount:,}"


async def _told_problem(question: Question, sources: Sources, pasted: Pasted, *, knows_key: bool) -> Answer | None:
    """Return what an error, a trace id or a log tells."""
    answer = error_answer(pasted.error) if pasted.error is not None else None
    if answer is None and pasted.trace_id is not None:
        trace = await sources.explain(pasted.trace_id)
        if trace is not None:
            return trace_answer(trace)
        problem = "llmguard here knows no request with this id."
        fix = "Check that the id is whole, and that it came from this llmguard: traces are kept for a limited time."
        return Answer("unknown_trace", problem, fix, YOU)
    answer = answer or look_answer(question.text)
    if answer is not None and knows_key and answer.code == "invalid_api_key":
        problem = "The key that you gave here works, and the tool was refused: it sends another one."
        fix = "Put this key into the tool again, without spaces or quotes, and look whether a second place sets a key."
        return Answer("other_key", problem, fix, YOU)
    return answer


async def _all_well(sources: Sources, secret: Secret) -> Answer:
    app = sources.registry.apps[secret.app]
    presets = usable_presets(sources.registry, app, today=sources.now.date())
    lefts = [f"{_amount(one, one.left)} {_words(one)}" for one in await sources.standings(app)]
    expires = "-" if secret.expires_at is None else f"{secret.expires_at.day} {secret.expires_at:%B %Y}"
    facts = (
        ("App", app.name),
        ("Owner", app.owner),
        ("Presets", ", ".join(preset.name for preset in presets)),
        ("Left", ", ".join(lefts) or "no limits"),
        ("Key id", secret.key_id),
        ("Key expires", expires),
    )
    fix = "If the tool still fails, paste its error here together with the key."
    return Answer("fine", f"The key works: it is a valid key of the app {app.name}.", fix, YOU, fine=True, facts=facts)


def _unknown_key() -> Answer:
    problem = "The key is whole and correctly written, but llmguard here does not know it."
    fix = f"Check that it belongs to this llmguard and not to a test installation. {_NEW_KEY}"
    return Answer("invalid_api_key", problem, fix, OPERATOR)


def _clock_problem(caller_time: datetime | None, now: datetime) -> Answer | None:
    if caller_time is None:
        return None
    skew = (caller_time - now).total_seconds()
    if abs(skew) <= _MOST_SKEW_SECONDS:
        return None
    size = f"{abs(skew) / 60:.0f} minutes" if abs(skew) < 7200 else f"{abs(skew) / 3600:.0f} hours"  # noqa: PLR2004 - 2 h
    problem = f"The clock of your machine is {size} {'fast' if skew > 0 else 'slow'}."
    return Answer("clock_skew", problem, "Let your machine set its clock by the network.", YOU)


def _origin(text: str) -> str | None:
    """Return the origin of a page's address: what a browser sends."""
    try:
        parts = urlsplit(text.strip())
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else text.strip() or None


def _nothing_recognised(question: Question) -> Answer:
    if question.base_url.strip() and not question.text.strip():
        fix = "Give the key as well, and the doctor looks further."
        return Answer("fine", "The base URL has the right form.", fix, YOU, fine=True)
    problem = "There is nothing in it that the doctor knows."
    fix = "Paste the whole error, or the key that the tool uses, or the trace id of a refused request."
    return Answer("not_recognised", problem, fix, YOU)
