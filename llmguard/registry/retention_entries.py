"""The section `retention` of registry.yaml: how long requests and answers are kept."""

from typing import Annotated

from pydantic import Field

from llmguard.domain.retention import USUAL_DAYS
from llmguard.registry.entry import Entry
from llmguard.registry.fields import Name, Text

Days = Annotated[int, Field(ge=1, le=36_500)]


class RetentionDaysEntry(Entry):
    """Days by the sensitivity of the app."""

    public: Days = Field(USUAL_DAYS, description="Days for apps that are public.")
    internal: Days = Field(USUAL_DAYS, description="Days for apps that are internal.")
    confidential: Days = Field(USUAL_DAYS, description="Days for apps that are confidential.")
    restricted: Days = Field(USUAL_DAYS, description="Days for apps that are restricted.")


class RetentionRuleEntry(Entry):
    """Apps whose requests and answers are kept longer."""

    apps: list[Name] = Field(min_length=1, description="Apps of the catalog.")
    days: Days = Field(description="Days; more than the sensitivity of each of these apps has.")
    why: Text = Field(description="The law or the contract that asks for it.")


class RetentionEntry(Entry):
    """How long requests and answers are kept; the figures of a trace stay."""

    days: RetentionDaysEntry = Field(
        RetentionDaysEntry.model_validate({}), description="Days by sensitivity; default: 183 for each."
    )
    rules: list[RetentionRuleEntry] = Field([], description="What is kept longer.")


RETENTION_ENTRIES: dict[tuple[str, ...], type[Entry]] = {
    ("retention",): RetentionEntry,
    ("retention", "days"): RetentionDaysEntry,
    ("retention", "rules", "*"): RetentionRuleEntry,
}
