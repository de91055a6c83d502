"""One alert, and the CloudEvent that says it: facts and a sentence, never a text of a request."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from llmguard.domain.alerts import AlertKind

TYPE_PREFIX: Final = "com.llmguard."
SOURCE: Final = "urn:llmguard"
CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
_PREFIXES: Final[tuple[tuple[str, AlertKind], ...]] = (
    ("com.llmguard.limit.", "limit"),
    ("com.llmguard.app.", "expiry"),
    ("com.llmguard.anomaly.", "anomaly"),
    ("com.llmguard.overage.", "overage"),
    ("com.llmguard.containment.", "containment"),
)


@dataclass(frozen=True, slots=True)
class Alert:
    """Something worth telling once.

    Attributes:
        key: what makes it the same alert again; the first process that records it raises it.
        type: of the CloudEvent, such as `com.llmguard.limit.reached`.
        subject: whom it is about, as in `app:claims-bot` or `cost_center:4711`.
        cost_centers: whose receivers are told.
        data: facts, with `message`, a sentence for people.
        covers: keys of lesser alerts that this one makes pointless, such as 50 % once 80 % are reached.
        id: where it has one already; None: it gets one when it is recorded.
        moment: when it happened; None: when it is recorded.
    """

    key: str
    type: str
    subject: str
    cost_centers: frozenset[str]
    data: Mapping[str, Any]  # Any: JSON
    covers: tuple[str, ...] = ()
    id: str | None = None
    moment: datetime | None = None

    @property
    def kind(self) -> AlertKind:
        """What receivers choose by."""
        return next(kind for prefix, kind in _PREFIXES if self.type.startswith(prefix))

    @property
    def log_subject(self) -> str:
        """The subject as log lines have it: an owner is an address, and no address is logged."""
        return "an owner" if self.subject.startswith("owner:") else self.subject


def cloud_event(alert_id: str, moment: datetime, kind: str, subject: str, data: Mapping[str, Any]) -> str:
    """Return the event in structured JSON; these very characters are kept, signed and sent.

    Source: CloudEvents 1.0.2, JSON event format, section 3.
    """
    event = {
        "specversion": "1.0",
        "id": alert_id,
        "source": SOURCE,
        "type": kind,
        "subject": subject,
        "time": moment.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": data,
    }
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))
