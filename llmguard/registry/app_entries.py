"""Apps in registry.yaml, and what limits them, as pydantic models; the descriptions are what editors show."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from llmguard.domain.catalog import DEFAULT_TIME_ZONE, AppStatus
from llmguard.domain.chat import JsonObject
from llmguard.registry.entry import Entry
from llmguard.registry.fields import IsoDate, Origin, PresetReference, Text, TimeZone, UsdAboveZero, WebAddress

SensitivityWord = Literal["public", "internal", "confidential", "restricted"]


class QuotaEntry(Entry):
    """Limits; what is left out is not limited."""

    requests_per_minute: int | None = Field(None, gt=0, description="Requests in a minute.")
    tokens_per_minute: int | None = Field(None, gt=0, description="Tokens, in and out, in a minute.")
    tokens_per_day: int | None = Field(None, gt=0, description="Tokens, in and out, in a calendar day.")
    tokens_per_month: int | None = Field(None, gt=0, description="Tokens, in and out, in a calendar month.")
    usd_per_month: UsdAboveZero | None = Field(None, description="US dollars in a calendar month.")


class SharedQuotaEntry(QuotaEntry):
    """Limits that several apps share, each request counting for all of them."""

    time_zone: TimeZone = Field(DEFAULT_TIME_ZONE, description="By whose calendar days and months run; default: UTC.")


class QuotasEntry(Entry):
    """Limits beside those of each app: a request needs room in all of them."""

    owners: dict[Text, SharedQuotaEntry] = Field({}, description="All apps of an owner together, by e-mail address.")
    cost_centers: dict[Text, SharedQuotaEntry] = Field(
        {}, description='All apps of a cost center together; in quotes, as in "4711".'
    )


def _owner_first(schema: JsonObject) -> None:
    """Let editors ask for an owner: a file without one is served, and the app is refused."""
    schema["required"] = ["owner", *schema.get("required", ())]


class AppEntry(Entry):
    """A micro app in the catalog."""

    model_config = ConfigDict(json_schema_extra=_owner_first)

    owner: str = Field("", description="Who answers for the app: an e-mail address; an app without one is refused.")
    backup_owner: Text | None = Field(None, description="Who answers when the owner is away.")
    team: Text | None = Field(None, description="The team it belongs to.")
    cost_center: Text = Field(description='Who pays; in quotes, as in "4711".')
    status: AppStatus = Field(
        "sandbox",
        description="draft, sandbox (echo models and those for the sandbox; the default), approved, deprecated (with "
        "`sunset`), retired (with `instead`) or suspended.",
    )
    ticket: Text | None = Field(None, description="Where it was approved, as in GOV-118.")
    sensitivity: SensitivityWord = Field(description="The most sensitive data that the app handles.")
    connectors: list[Text] = Field([], description="Systems that the app reads or writes.")
    origins: list[Origin] = Field([], description="Web origins whose pages may call with this app's key.")
    expires: IsoDate | None = Field(None, description="Last day of the app's approval.")
    sunset: IsoDate | None = Field(None, description="Last day of a deprecated app.")
    instead: Text | None = Field(None, description="What to use instead of a deprecated or retired app.")
    support: Text | None = Field(None, description="When somebody helps, as in business-hours.")
    runbook: WebAddress | None = Field(None, description="What to do when it does not work.")
    presets: list[PresetReference] = Field(description="Presets that it may use: name (all versions) or name@version.")
    quota: QuotaEntry = Field(description="What it may use.")
    time_zone: TimeZone = Field(
        DEFAULT_TIME_ZONE, description="By whose calendar the days and months of its quota run; default: UTC."
    )

    @model_validator(mode="before")
    @classmethod
    def _without_owner(cls, app: Any) -> Any:  # YAML gives anything
        """Take `owner:` with nothing behind it for no owner: the app is refused, and no other app waits for it."""
        return app | {"owner": ""} if isinstance(app, dict) and app.get("owner", "") is None else app


class RenewalEntry(Entry):
    """How far owners may extend the approval of their apps without the CoE."""

    longest_days: int = Field(180, ge=1, le=366, description="How many days from the day of the renewal at most.")
    days_after_end: int = Field(14, ge=0, le=90, description="How many days after its end an app can still be renewed.")
