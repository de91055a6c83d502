"""What every mapping of registry.yaml has in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from llmguard.registry.fields import refuse


class Entry(BaseModel):
    """A mapping of registry.yaml: no unknown settings, no conversions, nothing left empty."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_given(cls, value: Any) -> Any:  # YAML gives anything
        # `fixed:` with nothing behind it would else mean "not fixed": what is left empty is never a permission.
        if value is None:
            refuse("the setting is empty", "give a value, or remove the line")
        return value
