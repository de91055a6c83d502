"""The request path: nine steps in one place. Read this first.

One async generator serves streaming and not. Step results are local variables, so the type checker proves the order;
only the record is filled as we go. A refusal is raised before the first yield; what fails later ends the stream.
Settling (7) and tracing (9) belong to the record, which is left exactly once whatever happens here.
"""

from collections.abc import AsyncGenerator, Callable

import msgspec

from llmguard.domain.catalog import Caller, Preset, Registry
from llmguard.domain.chat import ChatRequest, JsonObject, Usage
from llmguard.domain.errors import Refusal
from llmguard.domain.quota import Amount
from llmguard.gateway.answer import Answer, filtered, plain_answer
from llmguard.gateway.recorder import Record
from llmguard.gateway.services import Services
from llmguard.gateway.structure import STRUCTURE, structured
from llmguard.gateway.used_up import refuse_used_up
from llmguard.identity.keyring import Credential
from llmguard.identity.scopes import check_preset, in_scope
from llmguard.policy.decide import Decision, check_app, check_content, decide
from llmguard.policy.parameters import MAX_TOKENS, least_worth_having
from llmguard.providers.usage import most_amount
from llmguard.redaction.redactor import Redacted
from llmguard.registry.resolve import resolve_preset


class Incoming(msgspec.Struct, frozen=True):
    """A request at the door: `parse` is step 0, of its body; `credential` is whose key it has, if that is known."""

    authorization: str | None
    origin: str | None
    parse: Callable[[], ChatRequest]
    credential: Credential | None = None


async def govern(services: Services, record: Record, incoming: Incoming) -> AsyncGenerator[list[JsonObject], None]:
    """Take one request through all steps and yield its answer.

    Yields:
        `chat.completion.chunk` bodies for a stream, those that came at once in one list; else exactly one
        `chat.completion` or list of embeddings; restored for the app.

    Raises:
        Refusal: the caller, or the owner of a rule, can fix it.
        Fault: nobody on the caller's side can.
    """
    async with record:
        registry = services.registry
        caller = authenticate(services, record, registry, incoming)  # 1
        request = incoming.parse()  # 0: not before somebody known asks for it
        preset = resolve(services, record, registry, caller, request)  # 2
        decision = decided(record, caller, preset, request)  # 3
        asked = request.but(request.messages, decision.parameters, request.inputs)
        if services.ledger.has_refused(caller.app):
            await refuse_used_up(services, caller.app, preset, decision, compose(preset, asked))  # 5, ahead of its time
        redacted = await redact(services, record, caller, preset, asked)  # 4
        await judge(services, record, registry, caller, preset, redacted)  # 3, by the CoE's own rules
        body = compose(preset, redacted.request)
        answer = await answer_for(services, preset, request, redacted)
        body = await reserve(services, record, caller, preset, decision, body)  # 5
        call = services.providers.call(decision.models, body, trace_id=record.trace.trace_id)
        record.calling(call)
        async with call:  # 6
            async for chunks in call.answer:
                record.received(chunks)
                if restored := answer.feed(chunks):  # 8
                    yield restored
        last = await answer.close()
        await record.answered()  # 7 and 9, before the answer is complete for the app
        if last:
            yield last


def authenticate(services: Services, record: Record, registry: Registry, incoming: Incoming) -> Caller:
    """Step 1: return the app with a valid key, if it may be used at all today."""
    services.recorder.check()
    credential = incoming.credential or services.keyring.authenticate(incoming.authorization)
    app = registry.apps.get(credential.app)
    if app is None:
        raise Refusal(
            "app_not_approved",
            f"The key belongs to the app {credential.app}, which is not in the catalog.",
            hint="Ask the CoE to add the app to registry.yaml, or use the key of an app that is there.",
        )
    caller = Caller(app, credential.key_id, credential.scope)
    record.authenticated(caller, registry)
    check_app(app, today=services.clock.now().date(), origin=incoming.origin)
    return caller if caller.scope is None else in_scope(caller, record.trace.endpoint, registry)


def resolve(services: Services, record: Record, registry: Registry, caller: Caller, request: ChatRequest) -> Preset:
    """Step 2: return the preset that the app named in `model`."""
    record.asked(request.model, registry, services.policies.asked(registry, request))
    preset = resolve_preset(registry, caller.app, request.model, today=services.clock.now().date())
    record.resolved(preset, stream=request.stream)
    if caller.scope is not None:
        check_preset(caller, preset)
    return preset


def decided(record: Record, caller: Caller, preset: Preset, request: ChatRequest) -> Decision:
    """Step 3: return the decision, or refuse with all reasons at once."""
    decision = decide(caller.app, preset, request)
    record.decided(decision)
    decision.enforce()
    return decision


async def redact(services: Services, record: Record, caller: Caller, preset: Preset, request: ChatRequest) -> Redacted:
    """Step 4: return the request with personal data hidden, and the vault that can bring it back."""
    redactor = services.redactor
    redacted = await redactor.redact(request, app=caller.app.name, profile=preset.redaction)
    record.redacted(redactor, redacted)
    check_content(caller.app, redacted.entities, redacted.vault.types_of_only)
    return redacted


async def judge(
    services: Services, record: Record, registry: Registry, caller: Caller, preset: Preset, redacted: Redacted
) -> None:
    """Step 3, second half: refuse what the CoE's own rules deny, of which some speak of what was found."""
    judgement = await services.policies.judge(registry, caller.app, preset, redacted.request, redacted.entities)
    record.judged(judgement)
    judgement.enforce()


def compose(preset: Preset, request: ChatRequest) -> JsonObject:
    """Return the body for the provider: the preset's system prompt first, then what the app said, redacted."""
    if request.inputs is not None:
        return {"model": preset.model.target, "input": request.inputs, **request.parameters}
    messages = request.messages
    if preset.system is not None:
        messages = [{"role": "system", "content": preset.system}, *messages]
    body: JsonObject = {"model": preset.model.target, "messages": messages, **request.parameters}
    if request.stream:  # settled by the usage at its end, also if the app did not ask
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


async def reserve(
    services: Services, record: Record, caller: Caller, preset: Preset, decision: Decision, body: JsonObject
) -> JsonObject:
    """Step 5: hold the most that this request can cost, at the dearest model that may answer it.

    Where the preset clamps to what is left, the ledger decides how much that is as it books it, so that two requests
    never get the same rest.

    Returns:
        The body for the provider, with the `max_tokens` that is paid for.
    """
    input_tokens = await services.tokens.most_input(body, decision.models)
    refuse_too_long(decision, input_tokens)
    asked, choices = int(body.get(MAX_TOKENS, 0)), int(body.get("n", 1))  # embeddings have no output
    least = least_worth_having(preset, asked)
    spare = 1 if least < asked else 0  # nano-dollars: costs between the two are rounded, and never below the exact one

    def amount(max_tokens: int) -> Amount:
        usage = Usage(input_tokens, max_tokens * choices)
        most = most_amount(decision.models, usage, body.get("service_tier"))
        return most._replace(nano_usd=most.nano_usd + spare) if spare else most

    most = amount(asked)
    lowest = most if least == asked else amount(least)
    hold = await services.ledger.reserve(record.trace.trace_id, caller.app, most, least=lowest, steps=asked - least)
    record.reserved(hold, input_tokens)
    paid = (hold.amount.tokens - input_tokens) // choices
    if paid == asked:
        return body
    record.clamped(MAX_TOKENS)
    return body | {MAX_TOKENS: paid}


async def answer_for(services: Services, preset: Preset, request: ChatRequest, redacted: Redacted) -> Answer:
    """Return how the answer leaves (step 8): filtered, restored, and checked if the app asked for a structure."""
    answer = filtered(plain_answer(redacted), preset, services.redactor, redacted)
    if STRUCTURE not in request.parameters:
        return answer
    return await structured(answer, request, services.schemas)


def refuse_too_long(decision: Decision, input_tokens: int) -> None:
    """Refuse what the model could not read, before anything is held for it."""
    model = decision.models[0]
    if model.context_tokens is not None and input_tokens > model.context_tokens:
        raise Refusal(
            "context_length_exceeded",
            f"The request has about {input_tokens} tokens, and the model reads at most {model.context_tokens}.",
            hint="Shorten the messages, or send the text in parts.",
            param="messages",
        )
