"""Step 5 ahead of its time: an app that has nothing left learns it before redaction costs what nobody pays for."""

from llmguard.domain.catalog import App, Preset
from llmguard.domain.chat import JsonObject, Usage
from llmguard.gateway.services import Services
from llmguard.policy.decide import Decision
from llmguard.policy.parameters import MAX_TOKENS, least_worth_having
from llmguard.providers.usage import most_amount


async def refuse_used_up(services: Services, app: App, preset: Preset, decision: Decision, body: JsonObject) -> None:
    """Refuse what the ledger would not grant now, however short its text becomes; else do nothing.

    Args:
        services: of this worker.
        app: who pays.
        preset: says whether less than what is asked for is worth having.
        decision: which models may answer.
        body: for the provider, with nothing hidden yet: it is counted for the words of the refusal, and kept nowhere.

    Raises:
        QuotaRefusal, Fault: as `Ledger.reserve` does.
    """
    input_tokens = await services.tokens.most_input(body, decision.models)
    context_tokens = decision.models[0].context_tokens
    if context_tokens is not None and input_tokens > context_tokens:
        return  # too long for the model is what it will be refused for
    output_tokens = least_worth_having(preset, int(body.get(MAX_TOKENS, 0))) * int(body.get("n", 1))
    models, service_tier = decision.models, body.get("service_tier")
    certain = most_amount(models, Usage(0, output_tokens), service_tier)
    asked = most_amount(models, Usage(input_tokens, output_tokens), service_tier)
    await services.ledger.check_left(app, certain, asked)
