"""What the pipeline works with; `wiring.py` fills it."""

from dataclasses import dataclass, field

from llmguard.domain.catalog import Registry
from llmguard.domain.clock import Clock
from llmguard.gateway.recorder import Recorder
from llmguard.gateway.structure import SchemaChecks
from llmguard.idempotency.claims import Claims
from llmguard.identity.keyring import Keyring
from llmguard.policy.judge import Policies
from llmguard.providers.calling import Providers
from llmguard.providers.tokens import TokenCounter
from llmguard.quota.gate import OverageGate
from llmguard.quota.ledger import Ledger
from llmguard.redaction.redactor import Redactor


@dataclass(slots=True)
class Services:
    """One of each for a worker.

    `registry` and `redactor` are replaced whole when the CoE's files change; a request takes each of them once.
    """

    clock: Clock
    keyring: Keyring
    registry: Registry
    redactor: Redactor
    tokens: TokenCounter
    ledger: Ledger
    providers: Providers
    recorder: Recorder
    overage: OverageGate
    claims: Claims
    policies: Policies
    schemas: SchemaChecks = field(default_factory=SchemaChecks)
